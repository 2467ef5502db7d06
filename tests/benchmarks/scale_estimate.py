"""What a run of AMEN over 6.7 billion rows would need: the arithmetic behind docs/scale.md.

python -m tests.benchmarks.scale_estimate [--write]

Measured costs come from results/benchmark-costs.json (``tests.benchmarks.costs``), devices from their makers'
data sheets, everything else is an assumption of ``ASSUMED``. ``--write`` puts the tables into the document,
between its markers; without it they are printed.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COSTS, DOCUMENT = ROOT / "results" / "benchmark-costs.json", ROOT / "docs" / "scale.md"

ROWS = 6.7e9  # "6.7-billion-instance" set of arXiv 2510.11317
ASSUMED = {
    "events per labelled row (impressions alone: 1)": 1,
    "users": 200e6,
    "items": 100e6,
    "epochs of stage 1": 1,
    "epochs of stage 2": 1,
    "share of the device's fp32 peak that small matrices reach": 0.1,
    "seconds between two kernels of a stream of launches": 5e-6,
    "rows of stage 2 in a GPU's batch, cuts in stage 1": 8192,
    "times that kept activations pass through memory in a step": 4,
    "share of published network bandwidth that all-to-all reaches": 0.5,
    "GPUs": 8,
    "CPU cores beside each GPU": 16,
    "bytes of optimizer state per table row (row-wise Adagrad)": 4,
    "size of a shard, MB": 256,
}
DEVICE = {  # NVIDIA H100 SXM data sheet; NVMe: PCIe 4.0 x4 drives' data sheets
    "name": "NVIDIA H100 SXM",
    "fp32": 67e12,  # FLOP/s
    "memory": 80e9,  # bytes
    "bandwidth": 3.35e12,  # bytes/s
    "nvlink": 450e9,  # bytes/s in each direction
    "network": 50e9,  # bytes/s per GPU, 400 Gb/s InfiniBand
    "disk": 7e9,  # bytes/s of one NVMe drive
}


DENSE = "dense Adam over a GPU's share of the tables, as the code has it"
NETWORK = "all-to-all of embeddings, InfiniBand"


def estimate(costs: dict) -> dict[str, list[list[str]]]:
    """The tables of the document, by name; cells are text.

    costs: the record that ``tests.benchmarks.costs`` writes.
    """
    sizes = storage(costs)
    seconds = {stage: seconds_per_row(costs, stage) for stage in ("stage_1", "stage_2")}
    return {
        "assumed": [[name, _number(value)] for name, value in ASSUMED.items()],
        "measured": _measured(costs),
        "storage": [[name, _bytes(size), note] for name, size, note in sizes],
        "time": _time_table(costs, seconds),
        "hours": _hours(costs, seconds),
    }


def storage(costs: dict) -> list[tuple[str, float, str]]:
    """What has to be kept: name, bytes and how it follows."""
    events = ROWS * ASSUMED["events per labelled row (impressions alone: 1)"]
    disk, memory = disk_bytes(costs), costs["storage"]["memory_bytes"]
    shards = events * disk / (ASSUMED["size of a shard, MB"] * 1e6)
    numbers = table_numbers(costs)
    tables, adam = 4 * numbers, 12 * numbers
    state = ASSUMED["bytes of optimizer state per table row (row-wise Adagrad)"]
    rowwise = tables + state * (ASSUMED["items"] + ASSUMED["users"])
    devices = -(-rowwise // (0.8 * DEVICE["memory"]))
    dense = 12 * costs["dense_parameters"]
    flow = ROWS * costs["flow_numbers"] * 2
    return [
        ("log as Parquet shards", events * disk, f"{_number(shards)} shards of whole users"),
        ("the same log in memory", events * memory, "if it were not streamed"),
        ("embedding tables, fp32", tables, f"{_number(numbers)} numbers"),
        ("tables with Adam", adam, "weights and two moments"),
        (
            "tables with row-wise Adagrad",
            rowwise,
            f"{devices:.0f} x 80 % of a GPU's memory, without activations",
        ),
        ("all other parameters, with Adam", dense, "replicated on every GPU"),
        ("checkpoint of tables and moments", adam, "one of them; two are kept"),
        ("flow cache, float16", flow, "more than the log: streamed runs make flows anew"),
    ]


def table_numbers(costs: dict) -> float:
    """Numbers in all embedding tables."""
    return ASSUMED["items"] * costs["item_width"] + ASSUMED["users"] * costs["user_width"]


def disk_bytes(costs: dict) -> float:
    """Bytes of an event in a shard: as measured, plus what ids of a larger catalogue take uncompressed."""
    return costs["storage"]["disk_bytes"] + math.log2(ASSUMED["items"] / costs["items"]) / 8


def seconds_per_row(costs: dict, stage: str) -> dict[str, float]:
    """Seconds that one row (stage 1: one cut) takes of each resource of one GPU and its share of the host."""
    cost, cores = costs[stage], ASSUMED["CPU cores beside each GPU"]
    peak = DEVICE["fp32"] * ASSUMED["share of the device's fp32 peak that small matrices reach"]
    passes = ASSUMED["times that kept activations pass through memory in a step"]
    events = costs["storage"]["read_cpu_seconds"]
    batch = ASSUMED["rows of stage 2 in a GPU's batch, cuts in stage 1"]
    kernels, launch = cost["step_kernels"], ASSUMED["seconds between two kernels of a stream of launches"]
    found = {
        "matrix multiplications": cost["flops"] / peak,
        "kernel launches": kernels * launch / batch,
        "device memory": passes * cost["activation_bytes"] / DEVICE["bandwidth"],
        "reading shards (CPU)": events / cores,
        "drive": disk_bytes(costs) / DEVICE["disk"],
    }
    if stage == "stage_2":
        width = costs["item_width"] + costs["user_width"]
        # ids go out, vectors come back, gradients go out again; in a large catalogue hardly an id comes twice
        traffic = costs["stage_2"]["lookups"] * (8 + 2 * 4 * width)
        share = ASSUMED["share of published network bandwidth that all-to-all reaches"]
        found["building batches (CPU)"] = costs["loader_cpu_seconds"] / cores
        found[DENSE] = 7 * 4 * table_numbers(costs) / ASSUMED["GPUs"] / DEVICE["bandwidth"] / batch
        found["all-to-all of embeddings, NVLink"] = traffic / (share * DEVICE["nvlink"])
        found[NETWORK] = traffic / (share * DEVICE["network"])
    return found


def _measured(costs: dict) -> list[list[str]]:
    one, two, kept = costs["stage_1"], costs["stage_2"], costs["storage"]
    return [
        ["stage 1, FLOP per cut", _number(one["flops"])],
        ["stage 1, cuts per event", f"{one['cuts_per_event']:.2f}"],
        ["stage 1, kept activations per cut", _bytes(one["activation_bytes"])],
        ["stage 2, FLOP per row, its flow included", _number(two["flops"])],
        ["stage 2, kept activations per row", _bytes(two["activation_bytes"])],
        ["stage 2, ids looked up per row, distinct ones", f"{two['lookups']:.0f}, {two['distinct_ids']:.2f}"],
        ["kernels of a step, stage 1, stage 2", f"{one['step_kernels']:,}, {two['step_kernels']:,}"],
        ["training on one CPU core, stage 1, cuts/s", _number(1 / one["cpu_seconds"])],
        ["training on one CPU core, stage 2, rows/s", _number(1 / two["cpu_seconds"])],
        ["building batches, rows/s of a core", _number(1 / costs["loader_cpu_seconds"])],
        ["reading shards into an event log, events/s of a core", _number(1 / kept["read_cpu_seconds"])],
        ["event in a shard", _bytes(kept["disk_bytes"])],
        ["event in memory", _bytes(kept["memory_bytes"])],
        ["numbers per item, per user", f"{costs['item_width']}, {costs['user_width']}"],
        ["other parameters", _number(costs["dense_parameters"])],
    ]


def _time_table(costs: dict, seconds: dict[str, dict[str, float]]) -> list[list[str]]:
    names = list(dict.fromkeys(name for found in seconds.values() for name in found))
    rows = []
    for name in names:
        values = [seconds[stage].get(name) for stage in ("stage_1", "stage_2")]
        rows.append([name, *("—" if value is None else f"{value * 1e6:.3g} µs" for value in values)])
    return rows


def _hours(costs: dict, seconds: dict[str, dict[str, float]]) -> list[list[str]]:
    """Hours on all GPUs, where resources work at the same time, and on CPU cores alone."""
    gpus, cores = ASSUMED["GPUs"], ASSUMED["CPU cores beside each GPU"] * ASSUMED["GPUs"]
    events = ROWS * ASSUMED["events per labelled row (impressions alone: 1)"]
    work = {
        "stage_1": events * costs["stage_1"]["cuts_per_event"] * ASSUMED["epochs of stage 1"],
        "stage_2": ROWS * ASSUMED["epochs of stage 2"],
    }
    rows, total = [], 0.0
    for stage, amount in work.items():
        inside = {name: value for name, value in seconds[stage].items() if name not in (NETWORK, DENSE)}
        first = max(inside, key=inside.get)
        hours = amount * inside[first] / gpus / 3600
        total += hours
        on_cores = amount * costs[stage]["cpu_seconds"] / cores / 3600
        name = stage.replace("_", " ")
        rows.append([name, _number(amount), f"{hours:,.1f}", first, f"{on_cores:,.0f}"])
    return [*rows, ["both", "", f"{total:,.1f}", "", ""]]


HEADERS = {
    "assumed": ["assumption", "value"],
    "measured": ["measured on one core", "value"],
    "storage": ["what", "size", "which is"],
    "time": ["seconds of one GPU and its host per", "cut of stage 1", "row of stage 2"],
    "hours": [
        "epoch of",
        "cuts or rows",
        f"hours on {ASSUMED['GPUs']} GPUs",
        "first bottleneck",
        f"hours on {ASSUMED['GPUs'] * ASSUMED['CPU cores beside each GPU']} CPU cores",
    ],
}


def markdown(name: str, rows: list[list[str]]) -> str:
    """A table of the document."""
    lines = [HEADERS[name], ["---"] * len(HEADERS[name]), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def filled(text: str, tables: dict[str, list[list[str]]]) -> str:
    """``text`` with every table between ``<!-- NAME -->`` and ``<!-- end -->``."""
    for name, rows in tables.items():
        block = f"<!-- {name} -->\n\n{markdown(name, rows)}\n\n<!-- end -->"
        text, found = re.subn(f"<!-- {name} -->.*?<!-- end -->", lambda _, b=block: b, text, flags=re.DOTALL)
        if found != 1:
            raise ValueError(f"{DOCUMENT} has {found} places for the table {name!r}, not one")
    return text


def _number(value: float) -> str:
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e4, " k")):
        if value >= size:
            return f"{value / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _bytes(value: float) -> str:
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} B"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    tables = estimate(json.loads(COSTS.read_text()))
    if options.write:
        DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8"), tables), encoding="utf-8")
    else:
        print("\n\n".join(markdown(name, rows) for name, rows in tables.items()))


if __name__ == "__main__":
    main()
