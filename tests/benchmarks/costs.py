"""What a row costs, for ``scale_estimate``: FLOPs, bytes and CPU seconds of AMEN with its defaults.

python -m tests.benchmarks.costs [--dataset=ml-1m] [--out=results/benchmark-costs.json]

FLOPs are those of torch's FlopCounterMode, forward and backward, of one training batch; stage 2 makes its
flows anew, as it does with shards. Activation bytes are what autograd keeps of that batch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from recbole_nif.data.fields import ADDED, CUT_MASK
from recbole_nif.data.stream.chunks import read_chunk
from recbole_nif.data.stream.write import write_shards
from recbole_nif.data.views import build_views
from recbole_nif.trainer.pretrain import GeneratorPretrainStage
from tests.benchmarks.setup import prepare
from tests.benchmarks.timing import machine


class KernelCounter(TorchDispatchMode):
    """Counts calls of operators that compute something; a view of a tensor does not."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        aliases = [result.alias_info for result in func._schema.returns]
        self.calls += not any(alias is not None and not alias.is_write for alias in aliases)
        return func(*args, **(kwargs or {}))


def training_costs(module, batch, rows: int) -> dict[str, float]:
    """Kernels of a step on ``batch``; its FLOPs, kept bytes and CPU seconds by its ``rows``."""
    module.train()
    sum(module.loss_terms(batch).values()).backward()  # allocations of a first step
    kept: dict[int, int] = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, KernelCounter() as kernels:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = sum(module.loss_terms(batch).values())
        loss.backward()
    begin = time.process_time()
    sum(module.loss_terms(batch).values()).backward()
    return {
        "flops": counter.get_total_flops() / rows,
        "step_kernels": kernels.calls,
        "activation_bytes": sum(kept.values()) / rows,
        "cpu_seconds": (time.process_time() - begin) / rows,
    }


def table_width(module, size: int) -> int:
    """Numbers that ``module`` keeps per id, of the tables with ``size`` ids."""
    tables = [p for p in module.parameters() if p.dim() == 2 and len(p) == size]
    return sum(table.shape[1] for table in tables)


def storage_costs(views, folder: Path) -> dict[str, float]:
    """Bytes of an event on disk and in memory, CPU seconds to read one from a shard."""
    manifest = write_shards(views, folder, 4)
    files, events = [shard.file for shard in manifest.shards], len(views[0].event_log)
    read_chunk(folder, files, strict=True)
    begin = time.process_time()
    chunk = read_chunk(folder, files, strict=True)
    return {
        "read_cpu_seconds": (time.process_time() - begin) / events,
        "disk_bytes": sum((folder / file).stat().st_size for file in files) / events,
        "memory_bytes": chunk.log.nbytes() / events,
    }


def measure(dataset: str) -> dict:
    config, loader, amen = prepare("AMEN", dataset)
    train = loader.dataset
    windows = GeneratorPretrainStage(config, amen.generator, loader, valid_data=None).windows
    window_batch = next(iter(windows))
    cuts = int(window_batch[CUT_MASK].sum())
    stage_1 = training_costs(amen.generator, window_batch, cuts)
    amen.start_finetune()
    batch = next(iter(loader))
    rows = int((~batch[ADDED]).sum())
    batches, begin = loader.batches(), time.process_time()
    read = sum(len(batches[number]["label"]) for number in range(20))
    read_seconds = (time.process_time() - begin) / read
    with tempfile.TemporaryDirectory() as folder:
        storage = storage_costs(build_views(config), Path(folder))
    items = batch["item_id_list"]
    return {
        "dataset": dataset,
        "machine": machine(),
        "batch_rows": rows,
        "stage_1": stage_1 | {"cuts_per_event": windows.n_cuts / len(train.event_log)},
        "stage_2": training_costs(amen, batch, rows)
        | {
            "lookups": 2 + (items.numel() + batch["moveline_item"].numel()) / rows,
            "distinct_ids": (len(batch["user_id"].unique()) + _distinct(batch)) / rows,
        },
        "loader_cpu_seconds": read_seconds,
        "storage": storage,
        "items": train.item_num,
        "item_width": table_width(amen, train.item_num),
        "user_width": table_width(amen, train.user_num),
        "dense_parameters": _dense(amen, train),
        "flow_numbers": config["flow_len"] * config["hidden_size"],
    }


def _distinct(batch) -> int:
    fields = ("item_id", "item_id_list", "moveline_item")
    return len(torch.cat([batch[name].reshape(-1) for name in fields]).unique())


def _dense(module, dataset) -> int:
    """Parameters that do not grow with the numbers of users and items."""
    sizes = (dataset.item_num, dataset.user_num)
    return sum(p.numel() for p in module.parameters() if p.dim() != 2 or len(p) not in sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--out")
    options = parser.parse_args()
    text = json.dumps(measure(options.dataset), indent=2)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
