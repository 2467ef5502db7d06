"""Tables of test metrics and of what they cost: trivial baselines first, then a row per model and variant."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recbole_nif.config_layers import CUSTOM_SPLIT
from recbole_nif.evaluation.metrics import relaimpr
from recbole_nif.publish.blocks import (
    BEST,
    SECOND,
    Block,
    Cell,
    Grid,
    Heading,
    Listing,
    Piece,
    Prose,
    cell,
    seeds,
)
from recbole_nif.publish.links import Links
from recbole_nif.publish.markdown import as_markdown
from recbole_nif.publish.names import setting
from recbole_nif.publish.runs import Absent, Row, Run, Table, tables_of
from recbole_nif.publish.text import NOTHING, number
from recbole_nif.results import METRICS
from recbole_nif.trainer.stages import SMALLER_IS_BETTER

BASE_MODEL = "LR"  # of RelaImpr
COLUMNS = (
    "model", "history", "seeds", "AUC", "GAUC", "LogLoss", "RelaImpr vs LR", "parameters", "epochs", "rows/s",
    "ms/1,000 rows", "hours",
)  # fmt: skip
RUN_COLUMNS = (
    "model", "seed", "AUC", "GAUC", "LogLoss", "validation AUC", "epochs", "ms/1,000 rows", "hours", "device",
    "commit",
)  # fmt: skip
PARTS = {"train": "training", "valid": "validation", "test": "test", "users": "users", "items": "items"}
MISSING = "missing"


def result_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Headings, tables and notes of the runs with these records (of result.json)."""
    tables = tables_of([Run.of(record) for record in records])
    return as_markdown((block for table in tables for block in metrics_blocks(table)), Links()).strip()


def metrics_blocks(table: Table) -> list[Block]:
    """What a table's figures hold for, the table itself, and its notes."""
    notes = [Listing(table.notes)] if table.notes else []
    return [Heading(2, conditions(table)), Prose(sizes(table)), metrics_grid(table), *notes]


def conditions(table: Table) -> str:
    """Data, split and ties."""
    record = table.record
    split, history = record["split"], record["history"]
    preset = split["preset"]
    if preset == CUSTOM_SPLIT:
        preset += f" {split['eval_args']}"
    weight = table.runs[0].gauc_weight
    return (
        f"{record['dataset']}: {preset}, ties {split['ties']}, "
        f"histories {history['ties']}, {history.get('until') or 'online'}"
        + (f", GAUC weighted by {weight}" if weight != "impressions" else "")
    )


def sizes(table: Table) -> str:
    """Rows, users and items, what is particular about the data, and settings that no label tells."""
    rows, data = table.record["rows"], table.runs[0].data
    told = [f"{rows[part]:,} {name}" for part, name in PARTS.items() if rows.get(part) is not None]
    return f"Rows: {', '.join(told)}." + (f" Data: {data}." if data else "") + _common(table)


def _common(table: Table) -> str:
    if not table.common:
        return ""
    return f" In all rows: {', '.join(setting(*item) for item in table.common.items())}."


def metrics_grid(table: Table) -> Grid:
    """Baselines, rows by model, and rows of which no run has a result."""
    baselines = _baselines(table)
    marks, base = _marks(table.rows), table.default_of(BASE_MODEL)
    lines = [_line(row, base, marks, _absent_seeds(row.label, table.absent)) for row in table.rows]
    known = {row.label for row in table.rows}
    unknown = dict.fromkeys(run.label for run in table.absent if run.label not in known)
    lines += [_missing_line(label, _absent_seeds(label, table.absent)) for label in unknown]
    return Grid(COLUMNS, [*baselines, *lines], linked="seeds", first_row=len(baselines))


def run_grid(table: Table) -> Grid:
    """A line for every single run of the rows."""
    runs = [run for row in table.rows for run in row.runs]
    lines = [[cell(text, [run]) for text in _of_run(run)] for run in runs]
    return Grid(RUN_COLUMNS, lines, linked="seed", runs=runs)


def _of_run(run: Run) -> list[str]:
    record = run.record
    valid, stages = record.get("valid") or {}, record["stages"]
    return [
        run.label,
        str(run.seed),
        *(number(record["test"].get(metric)) for metric in METRICS),
        number(valid["auc"]) if "auc" in valid else NOTHING,
        _epochs([record]) if stages else NOTHING,
        NOTHING if run.latency is None else f"{run.latency:,.3g}",
        f"{run.hours:.3g}",
        f"{record['device']['name']}, threads: {record['threads']}",
        short_commit(record["git_commit"]),
    ]


def short_commit(commit: str | None) -> str:
    """Ten digits of a commit, and whether its checkout was changed."""
    name, dirty, _ = (commit or "unknown").partition("-dirty")
    return name[:10] + dirty


def _baselines(table: Table) -> list[list[Cell]]:
    """Every baseline that some run holds: one value, or mean and deviation where the split has the seed."""
    values: dict[str, dict[int, Mapping[str, Any]]] = {}
    for run in table.runs:
        for name, metrics in run.record["baselines"].items():
            if metrics is not None:
                values.setdefault(name, {})[run.seed] = metrics
    lines = []
    for name, by_seed in values.items():
        metrics = [spread(_distinct([m.get(metric) for m in by_seed.values()])) for metric in METRICS]
        texts = [name.replace("_", " "), "", "", *metrics]
        lines.append([cell(text) for text in texts + [""] * (len(COLUMNS) - len(texts))])
    return lines


def _distinct(values: list[float | None]) -> list[float | None]:
    same = all(value is not None and abs(value - values[0]) < 1e-9 for value in values)
    return values[:1] if same else values


def _marks(rows: Sequence[Row]) -> dict[tuple[Row, str], str]:
    """The best mean of every metric and, among three or more, the second; equal means are marked alike."""
    marks = {}
    for metric in METRICS:
        means = {row: row.mean(metric) for row in rows if row.mean(metric) is not None}
        order = sorted({*means.values()}, reverse=metric not in SMALLER_IS_BETTER)
        mark_of = dict(zip(order[:-1], (BEST, SECOND), strict=False))  # the last one is not worth a mark
        marks |= {(row, metric): mark_of.get(mean, "") for row, mean in means.items()}
    return marks


def _line(
    row: Row, base: Row | None, marks: Mapping[tuple[Row, str], str], absent: Sequence[str]
) -> list[Cell]:
    records = [run.record for run in row.runs]
    rest = [
        _gain(row.mean("auc"), base.mean("auc") if base else None),
        _range([record["parameters"] for record in records], ","),
        _epochs(records),
        _speed(records),
        _latency(row.runs),
        f"{statistics.mean(run.hours for run in row.runs):.3g}",
    ]
    return [
        cell(row.label, row.runs),
        cell(records[0]["history"]["kind"], row.runs),
        _seeds(row, absent),
        *(cell(spread(row.values(metric)), row.runs, marks.get((row, metric), "")) for metric in METRICS),
        *(cell(text, row.runs) for text in rest),
    ]


def _missing_line(label: str, absent: Sequence[str]) -> list[Cell]:
    told = f"{MISSING}: {', '.join(absent)}" if absent else MISSING
    return [cell(label), cell(), cell(told), *[cell(NOTHING)] * (len(COLUMNS) - 3)]


def _absent_seeds(label: str, absent: Iterable[Absent]) -> list[str]:
    return [str(run.seed) for run in absent if run.label == label and run.seed is not None]


def _seeds(row: Row, absent: Sequence[str]) -> Cell:
    """The seeds, each with its run, and those whose run has no result."""
    told = seeds(row.runs)
    if len(row.runs) == 1:
        told = (Piece("one seed ("), *told, Piece("): no sign claimed"))
    else:
        told = (Piece(f"{len(row.runs)}: "), *told)
    return Cell((*told, *([Piece(f"; {MISSING}: {', '.join(absent)}")] if absent else [])))


def spread(values: Sequence[float | None]) -> str:
    """Mean ± sample standard deviation."""
    if len(values) == 1 or None in values:
        return number(None if None in values else values[0])
    return f"{number(statistics.mean(values))} ± {number(statistics.stdev(values))}"


def _gain(auc: float | None, base: float | None) -> str:
    """RelaImpr of the mean AUC over the base's mean."""
    return "" if auc is None or base is None else f"{relaimpr(auc, base):+.2f} %"


def _epochs(records: Sequence[Mapping[str, Any]]) -> str:
    """Epochs that the last stage ran and the one whose weights were tested."""
    stages = [record["stages"][-1] for record in records if record["stages"]]
    if not stages:
        return ""
    starts = [stage["facts"].get("started_from") for stage in stages]
    if all(starts) and not any(stage["epochs_run"] for stage in stages):
        return f"checkpoint of epoch {_range([start['epoch'] + 1 for start in starts])}"
    run = _range([stage["epochs_run"] for stage in stages])
    return f"{run}, best {_range([stage['best_epoch'] + 1 for stage in stages])}"


def _range(values: Sequence[int], form: str = "") -> str:
    low, high = min(values), max(values)
    return f"{low:{form}}" if low == high else f"{low:{form}}–{high:{form}}"


def _speed(records: Sequence[Mapping[str, Any]]) -> str:
    """Training rows per second of the last stage; of one device only."""
    speeds = [record["stages"][-1]["rows_per_second"] for record in records if record["stages"]]
    if not speeds or None in speeds:
        return ""
    return f"{statistics.mean(speeds):,.0f}" if _one_device(records) else "several devices"


def _latency(runs: Sequence[Run]) -> str:
    """Mean over the runs; of one device only."""
    latencies = [run.latency for run in runs]
    if None in latencies:
        return NOTHING
    same = _one_device([run.record for run in runs])
    return f"{statistics.mean(latencies):,.3g}" if same else "several devices"


def _one_device(records: Sequence[Mapping[str, Any]]) -> bool:
    return len({(record["device"]["name"], record["threads"]) for record in records}) == 1
