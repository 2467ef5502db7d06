"""How the time and memory of building a dataset and the time of a training row grow with the log.

python -m tests.benchmarks.scaling [--events 1000000 10000000 50000000] [--out=FILE.json]

Every log is generated and built in a process of its own: files to the first training batch of AMEN, then some
steps of it without a flow, batch 1024. Seconds are CPU time, which other work on the machine changes little;
"relative" is per event, beside the smallest log. The peak is that of building.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from tests.benchmarks.amen import samples, training
from tests.benchmarks.generated_log import GeneratedLog, atomic_settings
from tests.benchmarks.timing import publish

STEPS = 8


def measure(folder: Path) -> dict[str, float]:
    """Seconds of every part and memory of one build."""
    from recbole_nif.config import NIFConfig
    from recbole_nif.data.dataloader import CTRDataLoader
    from recbole_nif.data.dataset import CTRDataset

    config = NIFConfig("AMEN", "generated", config_dict=atomic_settings(folder) | {"use_nif": False})
    torch.manual_seed(config["seed"])
    before, begin = psutil.Process().memory_info().rss, time.process_time()
    dataset = CTRDataset(config)
    loaded = time.process_time()
    train = dataset.build()[0]
    built = time.process_time()
    loader = CTRDataLoader(config, train, "train", shuffle=True)
    next(iter(loader))
    end = time.process_time()
    memory = {
        "peak_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6,
        "resident_mb": (psutil.Process().memory_info().rss - before) / 1e6,
        "log_mb": train.event_log.nbytes() / 1e6,
    }
    model = config.model_class(config, train)
    model.start_finetune()
    work = training(model, config, loader, samples, STEPS)
    work()
    trained = time.process_time()
    rows = work()
    return {
        "load_seconds": loaded - begin,
        "build_seconds": built - loaded,
        "first_batch_seconds": end - built,
        "seconds": end - begin,
        **memory,
        "training_ms": 1000 * (time.process_time() - trained) / rows,
    }


def in_own_process(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.scaling", f"--measure={folder}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000_000, 10_000_000, 50_000_000])
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    rows, smallest = [], None
    for events in options.events:
        with tempfile.TemporaryDirectory() as folder:
            written = GeneratedLog(events).write_atomic(Path(folder))
            figures = in_own_process(Path(folder))
        smallest = smallest or (figures["seconds"] / written, figures["peak_mb"] / written)
        growth = [figures["seconds"] / written / smallest[0], figures["peak_mb"] / written / smallest[1]]
        rows.append([f"{written:,}", *figures.values(), *growth])
    header = [
        "events", "load, CPU s", "build, CPU s", "first batch, CPU s", "all, CPU s",
        "peak, MB", "resident, MB", "log, MB", "training row, CPU ms",
        "time per event, relative", "peak per event, relative",
    ]  # fmt: skip
    publish("Growth of a dataset's build", header, rows, options.out)


if __name__ == "__main__":
    main()
