"""AMEN's stages against NIFDIN: training rows (stage 1: cuts) per second, loader included, fp32.

python -m tests.benchmarks.amen [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

Batch 1024, histories and movelines of 50 events, all else as by default; flows come from the cache, as in
training. Rows are samples: AMEN's partner rows cost time and count nothing. Stage 2 with batches of single
rows reads a window of its own for nearly each; by default rows of a window stay together. Targets: stage 2
.2x of NIFDIN with single rows, .5x by default; an epoch of stage 1 in no more time than one of NIFDIN.
"""

from __future__ import annotations

import itertools

import torch

from recbole_nif.data.fields import ADDED, CUT_MASK, FLOW
from recbole_nif.trainer.engine import Engine
from recbole_nif.trainer.pretrain import GeneratorPretrainStage
from tests.benchmarks.setup import parse_options, prepare
from tests.benchmarks.timing import interleaved, publish

SHORT = {"moveline_length": 50, "pretrain_batch_size": 64}  # as many cuts a batch as with 16 of 200
FIRST = "AMEN stage 1 (cuts)"
SECOND = {"AMEN stage 2, single rows": {"rows_per_window": 1}, "AMEN stage 2": {}}  # how they are batched


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


def stage_2(dataset: str, **overrides):
    """Config, training loader with flows attached, and the model as stage 2 finds it."""
    config, loader, model = prepare("AMEN", dataset, **overrides)
    model.start_finetune()
    rows = len(loader.dataset.event_log.position)
    loader.attach(FLOW, torch.randn(rows, config["flow_len"], config["hidden_size"]).half())
    return config, loader, model


def main() -> None:
    options = parse_options(__doc__)
    config, loader, din = prepare("NIFDIN", options.dataset)
    sides = {"NIFDIN": training(din, config, loader, samples, options.steps)}
    epoch = dict.fromkeys(("NIFDIN", *SECOND), len(loader.dataset))  # rows
    config, loader, amen = prepare("AMEN", options.dataset, **SHORT)
    windows = GeneratorPretrainStage(config, amen.generator, loader, valid_data=None).windows
    sides[FIRST] = training(
        amen.generator, config, windows, lambda batch: int(batch[CUT_MASK].sum()), options.steps
    )
    epoch[FIRST] = windows.n_cuts
    for name, overrides in SECOND.items():
        config, loader, model = stage_2(options.dataset, **SHORT, **overrides)
        sides[name] = training(model, config, loader, samples, options.steps)

    rates = interleaved(sides)
    seconds = {name: epoch[name] / rate for name, rate in rates.items()}
    table = [
        [name, rate, rate / rates["NIFDIN"], seconds[name], seconds["NIFDIN"] / seconds[name]]
        for name, rate in rates.items()
    ]
    header = ["training", "rows/s", "of NIFDIN", "an epoch, s", "epochs in one of NIFDIN"]
    publish(f"AMEN, {options.dataset}", header, table, options.out)


if __name__ == "__main__":
    main()
