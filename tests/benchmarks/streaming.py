"""AMEN trained, both stages, on a log that does not fit into the memory it is given.

python -m tests.benchmarks.streaming [--events 2500000] [--memory_mb 100] [--folder=FOLDER] [--out=FILE.json]

Three processes: one writes a generated log as shards, without ever holding more than a block of users. One
streams it through a whole run of a small AMEN: what it allocates (RLIMIT_DATA) may grow by no more than
``memory_mb`` beyond what a run on a tiny log has left. The third, with the same limit, tries to hold
the same shards as one log in memory, by the same code, and is expected to fail.

One event in ten is a labelled row; the others belong to the moveline only, as in a log of behavior.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from recbole_nif.data.event_log import NO_LABEL, NO_ROW
from tests.benchmarks.generated_log import GeneratedLog
from tests.benchmarks.timing import publish

# Without these the C library and oneDNN, which keeps code for every shape of a matrix it has seen, grow for
# a while with the number of steps, whatever the log.
LEAN = {
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "8",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
}
SPLIT = (0.9, 0.05)  # of a user's events, by time: training, validation; the rest is for tests
LABELLED = 0.1  # share of the events that are samples
BROWSED = 3  # behavior of the others
SMALL = {
    "embedding_size": 4, "hidden_size": 8, "n_heads": 1, "n_layers": 1, "mlp_hidden_size": [16],
    "cross_layers": 1, "cross_rank": 4, "attention_mlp_hidden_size": [8], "use_item_space": False,
    "moveline_length": 32, "moveline_stride": 32, "MAX_ITEM_LIST_LENGTH": 8, "flow_len": 2,
    "nce_in_batch": 128, "nce_uniform": 32,
    "lambda_click": 0.0, "stage1_item_vectors": "none", "pretrain_epochs": 1, "epochs": 1, "ema_decay": 0,
    "train_batch_size": 512, "eval_batch_size": 1024, "pretrain_batch_size": 64, "rows_per_window": 16,
    "pretrain_eval_rows": 2000,
}  # fmt: skip


def write(log: GeneratedLog, folder: Path) -> dict:
    """Writes ``log`` as shards, one per block of users."""
    from recbole_nif.data.stream.shards import FieldInfo, Manifest, ShardWriter

    writer, first_row, events = ShardWriter(folder, log.items + 1), 0, 0
    for block in log.blocks():
        user, size = block["user_id"], len(block["user_id"])
        starts = np.flatnonzero(np.diff(user, prepend=-1))
        count = np.diff(np.append(starts, size))
        place = (np.arange(size) - np.repeat(starts, count)) / np.repeat(count, count)
        split = np.searchsorted(np.cumsum(SPLIT), place, side="right")
        sample = np.random.default_rng(len(writer.shards)).random(size) < LABELLED
        writer.add(
            {
                "user": user,
                "item": block["item_id"],
                "timestamp": block["timestamp"],
                "label": np.where(sample, block["label"], NO_LABEL).astype(np.int8),
                "rating": np.zeros(size, dtype=np.float32),
                "scene": 1 + block["item_id"] % log.categories,
                "behavior": np.where(sample, 1 + block["label"], BROWSED).astype(np.int16),
                "split": np.where(sample, split, -1).astype(np.int8),
                "row_id": np.where(sample, first_row + np.cumsum(sample) - 1, NO_ROW),
            }
        )
        first_row += int(sample.sum())
        events += size
    users, items, scenes = log.users + 1, log.items + 1, log.categories + 1
    item = np.arange(items)
    category = (1 + item % log.categories) * (item > 0)
    fields = (
        FieldInfo("user_id", "token", "user_id", users),
        FieldInfo("item_id", "token", "item_id", items),
        FieldInfo("label", "float", "inter", 1),
        FieldInfo("category", "token", "item", scenes),
    )
    vocabulary = {
        "scene_members": np.arange(scenes)[:, None],
        "clicked_behaviors": np.array([False, False, True, False]),
        "item_scene": category,
        "item:item_id": item,
        "item:category": category,
    }
    writer.close(Manifest("generated", users, items, scenes, 4, {}, fields), vocabulary, {})
    return {"events": events, "rows": first_row, "shards": len(writer.shards)}


def limited(memory_mb: int) -> float:
    """Lets this process allocate ``memory_mb`` more than it has now; returns what it had, in MB."""
    had = int(_status("VmData")) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (had + memory_mb * 2**20,) * 2)
    return had / 2**20


def stream(folder: Path, memory_mb: int) -> dict:
    """Trains AMEN under the limit; before that on a tiny log, which loads all that a run imports."""
    _train(folder / "tiny")
    had, resident, begin = limited(memory_mb), _status("VmRSS") / 1024, time.process_time()
    record = _train(folder / "log")
    return {
        "cpu_seconds": time.process_time() - begin,
        "data_before_mb": had,
        "data_after_mb": _status("VmData") / 1024,
        "rss_before_mb": resident,
        "rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": {stage["name"]: stage["rows"] for stage in record["stages"]},
        "auc": record["test"]["auc"],
    }


def _train(shards: Path) -> dict:
    """A run's result.json."""
    from recbole_nif.quick_start import run_recbole_nif

    settings = {**SMALL, "stream_shards": str(shards), "device": "cpu", "stream_eval_shards": 2}
    with tempfile.TemporaryDirectory() as runs:
        settings |= {"show_progress": False, "tensorboard": False, "checkpoint_dir": runs}
        run = run_recbole_nif("AMEN", "generated", config_dict=settings)
        return json.loads(Path(run["run_dir"], "result.json").read_text())


def hold(folder: Path, memory_mb: int) -> dict:
    """Reads all shards as one chunk, under the limit if there is one (0 = none)."""
    from recbole_nif.data.stream.chunks import read_chunk
    from recbole_nif.data.stream.shards import Manifest

    folder = folder / "log"
    read_chunk(folder, ["00000.parquet"], strict=True)  # imports what reading needs
    before, begin = _status("VmRSS") / 1024, time.process_time()
    if memory_mb:
        limited(memory_mb)
    try:
        files = [shard.file for shard in Manifest.read(folder).shards]
        chunk = read_chunk(folder, files, strict=True)
    except (MemoryError, RuntimeError) as error:  # torch says RuntimeError when an allocation fails
        return {"error": f"{type(error).__name__}: {error}"}
    rows = [chunk.user, chunk.split, chunk.source_row]
    return {
        "log_mb": (chunk.log.nbytes() + sum(column.nbytes for column in rows)) / 2**20,
        "rss_grown_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
        "cpu_seconds": time.process_time() - begin,
    }


def _status(key: str) -> float:
    """A line of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{key}:")))


def in_own_process(step: str, folder: Path, options: argparse.Namespace, memory_mb: int = 0) -> dict:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.streaming", f"--step={step}"]
    command += [f"--folder={folder}", f"--events={options.events}", f"--memory_mb={memory_mb}"]
    environment = os.environ | LEAN
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_500_000)
    parser.add_argument("--memory_mb", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=["write", "stream", "hold"])
    parser.add_argument("--out")
    options = parser.parse_args()
    if options.step == "write":
        write(GeneratedLog(20_000, items=2_000, block_users=100), options.folder / "tiny")
        log = GeneratedLog(options.events, items=2_000, block_users=1_000)
        print(json.dumps(write(log, options.folder / "log")))
    elif options.step:
        print(json.dumps({"stream": stream, "hold": hold}[options.step](options.folder, options.memory_mb)))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            compare(options, options.folder or Path(temporary, "shards"))


def compare(options: argparse.Namespace, folder: Path) -> None:
    written = in_own_process("write", folder, options)
    free = in_own_process("hold", folder, options)
    held = in_own_process("hold", folder, options, options.memory_mb)
    streamed = in_own_process("stream", folder, options, options.memory_mb)
    grown = streamed["rss_peak_mb"] - streamed["rss_before_mb"]
    rows = [
        ["events", written["events"]],
        ["labelled rows among them", written["rows"]],
        ["shards", written["shards"]],
        ["log in memory, MB", free["log_mb"]],
        ["memory that building it took, MB", free["rss_grown_mb"]],
        ["memory given, MB", options.memory_mb],
        ["whole log with the memory given", held.get("error", "fits")],
        [
            "streamed: allocated more than before, at the end, MB",
            streamed["data_after_mb"] - streamed["data_before_mb"],
        ],
        ["streamed: peak resident memory, MB", streamed["rss_peak_mb"]],
        ["streamed: of which the log and its training, MB", grown],
        *[[f"streamed: {name}, rows or cuts", rows] for name, rows in streamed["rows"].items()],
        ["streamed: CPU seconds of the run", streamed["cpu_seconds"]],
        ["streamed: test AUC", f"{streamed['auc']:.4f}"],
    ]
    publish("AMEN streamed from shards", ["what", "value"], rows, options.out)


if __name__ == "__main__":
    main()
