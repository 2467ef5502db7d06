"""Our data path against RecBole's SequentialDataset: build time, memory, loader rows per second.

python -m tests.benchmarks.data_path [--dataset=ml-1m] [--out=FILE.json]

Targets: at least 20x less history memory, a build in a third of the time and 10x the rows per second
(complete batches of a DIN: row features, history of 50, mask or length; batch 4096).
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time

import psutil

from tests.benchmarks.stock import stock_config
from tests.benchmarks.timing import interleaved, publish

BATCH, BATCHES = 4096, 40


def build_ours(dataset: str):
    """Our training loader for NIFDIN and the bytes that its histories take."""
    from recbole_nif.config import NIFConfig
    from recbole_nif.data.dataloader import CTRDataLoader
    from recbole_nif.data.dataset import CTRDataset

    config = NIFConfig("NIFDIN", dataset, config_dict={"device": "cpu", "train_batch_size": BATCH})
    train = CTRDataset(config).build()[0]
    packed = sum(values.nbytes for values in train.history._gather.values())
    return CTRDataLoader(config, train, "train", shuffle=True), train.event_log.nbytes() + packed, config


def build_stock(dataset: str, config):
    """RecBole's training loader for its DIN and the bytes of its materialized histories (all splits)."""
    from recbole.data.dataloader import TrainDataLoader
    from recbole.data.dataset import SequentialDataset

    stock = stock_config("DIN", dataset, config)
    parts = SequentialDataset(stock).build()
    lists = sum(
        tensor.nbytes
        for part in parts
        for name, tensor in part.inter_feat.interaction.items()
        if name.endswith("_list")
    )
    return TrainDataLoader(stock, parts[0], None, shuffle=True), lists


def measure(side: str, dataset: str) -> dict:
    """Build time and memory of one side; runs in a process of its own."""
    from recbole_nif.config import NIFConfig

    config = NIFConfig("NIFDIN", dataset, config_dict={"device": "cpu", "train_batch_size": BATCH})
    before = psutil.Process().memory_info().rss
    begin = time.perf_counter()
    history = build_ours(dataset)[1] if side == "ours" else build_stock(dataset, config)[1]
    return {
        "seconds": time.perf_counter() - begin,
        "resident_mb": (psutil.Process().memory_info().rss - before) / 1e6,
        "history_mb": history / 1e6,
    }


def in_own_process(side: str, dataset: str) -> dict:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.data_path"]
    done = subprocess.run(
        [*command, f"--side={side}", f"--dataset={dataset}"], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def read(loader) -> int:
    """Reads complete batches; returns the rows."""
    return sum(len(batch["user_id"]) for batch in itertools.islice(loader, BATCHES))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--side", choices=["ours", "stock"])
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.dataset)))
        return
    built = {side: in_own_process(side, options.dataset) for side in ("ours", "stock")}
    loader, _, config = build_ours(options.dataset)
    stock = build_stock(options.dataset, config)[0]
    rates = interleaved({"ours": lambda: read(loader), "stock": lambda: read(stock)})
    figures = [
        ("build, s", *(built[side]["seconds"] for side in ("stock", "ours"))),
        ("resident memory, MB", *(built[side]["resident_mb"] for side in ("stock", "ours"))),
        ("history memory, MB", *(built[side]["history_mb"] for side in ("stock", "ours"))),
    ]
    rows = [
        [name, stock_value, our_value, stock_value / our_value] for name, stock_value, our_value in figures
    ]
    rows.append(["loader, rows/s", rates["stock"], rates["ours"], rates["ours"] / rates["stock"]])
    header = [options.dataset, "RecBole SequentialDataset", "CTRDataset", "times better"]
    publish("Data path", header, rows, options.out)


if __name__ == "__main__":
    main()
