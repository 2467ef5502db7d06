"""AMEN's stages against NIFDIN: training rows (stage 1: cuts) per second, loader included, fp32.

python -m tests.benchmarks.amen [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

Batch 1024, both with their defaults; flows come from the cache, as in training. Rows are samples:
AMEN's partner rows cost time and count nothing. Target: stage 2 at least 0.15x of NIFDIN.
"""

from __future__ import annotations

import itertools

import torch

from recbole_nif.data.fields import ADDED, CUT_MASK, FLOW
from recbole_nif.trainer.engine import Engine
from recbole_nif.trainer.pretrain import GeneratorPretrainStage
from tests.benchmarks.setup import parse_options, prepare
from tests.benchmarks.timing import interleaved, publish


def training(module, config, batches, count, steps: int):
    """A function that trains ``steps`` batches and returns what ``count`` says of them."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [{"params": parameters, "lr": 0.001, "weight_decay": 0.0}]
    engine = Engine(config, module.train(), module.loss_terms, groups)
    endless = itertools.chain.from_iterable(itertools.repeat(batches))

    def work() -> int:
        seen = 0
        for batch in itertools.islice(endless, steps):
            engine.step(batch)
            seen += count(batch)
        return seen

    return work


def samples(batch) -> int:
    return int((~batch[ADDED]).sum()) if ADDED in batch else len(batch["label"])


def stage_2(dataset: str):
    """Config, training loader with flows attached, and the model as stage 2 finds it."""
    config, loader, model = prepare("AMEN", dataset)
    model.start_finetune()
    rows = len(loader.dataset.event_log.position)
    loader.attach(FLOW, torch.randn(rows, config["flow_len"], config["hidden_size"]).half())
    return config, loader, model


def main() -> None:
    options = parse_options(__doc__)

    config, loader, din = prepare("NIFDIN", options.dataset)
    sides = {"NIFDIN": training(din, config, loader, samples, options.steps)}
    config, loader, amen = prepare("AMEN", options.dataset)
    windows = GeneratorPretrainStage(config, amen.generator, loader, valid_data=None).windows
    sides["AMEN stage 1 (cuts)"] = training(
        amen.generator, config, windows, lambda batch: int(batch[CUT_MASK].sum()), options.steps
    )
    config, loader, second = stage_2(options.dataset)
    sides["AMEN stage 2"] = training(second, config, loader, samples, options.steps)

    rates = interleaved(sides)
    table = [[name, rate, rate / rates["NIFDIN"]] for name, rate in rates.items()]
    publish(f"AMEN, {options.dataset}", ["training", "rows/s", "of NIFDIN"], table, options.out)


if __name__ == "__main__":
    main()
