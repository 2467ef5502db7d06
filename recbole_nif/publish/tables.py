"""Markdown tables of test metrics: trivial baselines first, then a row per model, mean over its seeds."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from recbole_nif.config_layers import CUSTOM_SPLIT
from recbole_nif.evaluation.metrics import relaimpr
from recbole_nif.publish.runs import Row, Run, Table, tables_of
from recbole_nif.results import METRICS

BASE_MODEL = "LR"  # of RelaImpr
COLUMNS = (
    "model", "history", "seeds", "AUC", "GAUC", "LogLoss", "RelaImpr vs LR", "epochs", "rows/s", "hours",
)  # fmt: skip
PARTS = {"train": "training", "valid": "validation", "test": "test", "users": "users", "items": "items"}
NOTHING = "—"


def result_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Headings, tables and notes of the runs with these records (of result.json)."""
    tables = tables_of([Run.of(record) for record in records])
    return "\n\n".join(f"{heading(table)}\n\n{metrics_table(table)}" for table in tables)


def heading(table: Table) -> str:
    """Data, split, ties and rows: what the figures below hold for."""
    record = table.record
    split, history, rows = record["split"], record["history"], record["rows"]
    preset = split["preset"]
    if preset == CUSTOM_SPLIT:
        preset += f" {split['eval_args']}"
    conditions = (
        f"{record['dataset']}: {preset}, ties {split['ties']}, "
        f"histories {history['ties']}, {history.get('until') or 'online'}"
    )
    sizes = [f"{rows[part]:,} {name}" for part, name in PARTS.items() if rows.get(part) is not None]
    data = table.runs[0].data
    return f"## {conditions}\n\nRows: {', '.join(sizes)}." + (f" Data: {data}." if data else "")


def metrics_table(table: Table) -> str:
    """The table of a table's rows, and its notes."""
    lines = [*_baselines(table), *(_line(row, table.default_of(BASE_MODEL)) for row in table.rows)]
    return markdown(COLUMNS, lines) + bullets(table.notes)


def markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    cells = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)


def bullets(notes: Iterable[str]) -> str:
    """Notes below a table; "" for none."""
    listed = "\n".join(f"- {note}" for note in notes)
    return f"\n\n{listed}" if listed else ""


def number(value: float | None, digits: int = 4, sign: str = "") -> str:
    """A metric for people; ``undefined`` for None and NaN."""
    return "undefined" if value is None or value != value else f"{value:{sign}.{digits}f}"


def _baselines(table: Table) -> list[list[str]]:
    """Every baseline that some run holds: one value, or mean and deviation where the split has the seed."""
    values: dict[str, dict[int, Mapping[str, Any]]] = {}
    for run in table.runs:
        for name, metrics in run.record["baselines"].items():
            if metrics is not None:
                values.setdefault(name, {})[run.seed] = metrics
    lines = []
    for name, by_seed in values.items():
        metrics = [_spread(_distinct([m.get(metric) for m in by_seed.values()])) for metric in METRICS]
        lines.append([name.replace("_", " "), "", "", *metrics, *[""] * (len(COLUMNS) - 3 - len(METRICS))])
    return lines


def _distinct(values: list[float | None]) -> list[float | None]:
    same = all(value is not None and abs(value - values[0]) < 1e-9 for value in values)
    return values[:1] if same else values


def _line(row: Row, base: Row | None) -> list[str]:
    records = [run.record for run in row.runs]
    return [
        row.label,
        records[0]["history"]["kind"],
        _seeds(row),
        *(_spread(row.values(metric)) for metric in METRICS),
        _gain(row.values("auc"), base.values("auc") if base else [None]),
        _epochs(records),
        _speed(records),
        f"{statistics.mean(record['durations']['total'] for record in records) / 3600:.3g}",
    ]


def _seeds(row: Row) -> str:
    if len(row.runs) == 1:
        return f"one seed ({row.runs[0].seed}): no sign claimed"
    return f"{len(row.runs)}: {', '.join(str(run.seed) for run in row.runs)}"


def _spread(values: Sequence[float | None]) -> str:
    """Mean ± sample standard deviation."""
    if len(values) == 1 or None in values:
        return number(None if None in values else values[0])
    return f"{number(statistics.mean(values))} ± {number(statistics.stdev(values))}"


def _gain(aucs: Sequence[float | None], base: Sequence[float | None]) -> str:
    """RelaImpr of the mean AUC over the base's mean."""
    if None in (*aucs, *base):
        return ""
    return f"{relaimpr(statistics.mean(aucs), statistics.mean(base)):+.2f} %"


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


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def _speed(records: Sequence[Mapping[str, Any]]) -> str:
    """Training rows per second of the last stage; of one device only."""
    speeds = [record["stages"][-1]["rows_per_second"] for record in records if record["stages"]]
    if not speeds or None in speeds:
        return ""
    devices = {(record["device"]["name"], record["threads"]) for record in records}
    return f"{statistics.mean(speeds):,.0f}" if len(devices) == 1 else "several devices"
