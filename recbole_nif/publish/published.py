"""Figures of papers beside ours, from ``published.yaml``, with what is known of their rows."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from recbole_nif.config_parsing import load_yaml
from recbole_nif.publish.blocks import Block, Cell, Grid, Heading, Listing, Prose, cell
from recbole_nif.publish.names import label_of
from recbole_nif.publish.runs import Row, Table
from recbole_nif.publish.tables import spread
from recbole_nif.publish.text import NOTHING, number

PUBLISHED = Path(__file__).with_name("published.yaml")
COLUMNS = (
    "published as", "AUC", "LogLoss", "our row", "our AUC", "our LogLoss", "AUC minus published", "our split",
    "our ties", "our history", "our test rows",
)  # fmt: skip


def published_blocks(tables: Sequence[Table]) -> list[Block]:
    """A section for every published table on the datasets of ``tables``; nothing if there is none."""
    names = {table.record["dataset"] for table in tables}
    return [block for source in sources() if source["dataset"] in names for block in _section(source, tables)]


def sources() -> list[dict[str, Any]]:
    """The published tables."""
    return load_yaml(PUBLISHED)["tables"]


def _section(source: Mapping[str, Any], tables: Sequence[Table]) -> list[Block]:
    here = [table for table in tables if table.record["dataset"] == source["dataset"]]
    lines, absent = [], []
    for name, figures in source["figures"].items():
        rows = [(table, row) for table in here for row in _ours(table, figures["ours"])]
        lines += [_line(name, figures, table, row) for table, row in rows]
        absent += [] if rows else [name]
    if not lines:
        return []
    notes = [
        f"Published: split {source['split']}; ties {source['ties']}; history {source['history']}; "
        f"rows {source['rows']}.",
        *_latencies(source),
        *([f"Published, but without a run here: {', '.join(absent)}."] if absent else []),
    ]
    return [
        Heading(2, f"Published beside ours: {source['source']}, {source['table']}"),
        Prose(
            f"From {source['paper']}. The rows that a published figure was measured on are not ours, nor are "
            "features, tuning and seeds known to be the same: a difference says how far two experiments are "
            "apart, not which model is better."
        ),
        Grid(COLUMNS, lines),
        Listing(notes),
    ]


def _ours(table: Table, wanted: Mapping[str, Any] | None) -> list[Row]:
    """Of the table, the row nearest to a published one: equal in what decides, else with fewest settings."""
    if wanted is None:
        return []
    decisive, settings = _decisive_keys(), wanted.get("settings", {})

    def decides(row: Row) -> dict[str, Any]:
        return {key: value for key, value in _settings(table, row).items() if key in decisive}

    rows = [row for row in table.rows if row.model == wanted["model"] and decides(row) == settings]
    return sorted(rows, key=lambda row: len(row.variant))[:1]


@cache
def _decisive_keys() -> frozenset[str]:
    """Settings that make another model of a row: those that the papers vary, and the past that it reads."""
    figures = [figure["ours"] or {} for source in sources() for figure in source["figures"].values()]
    return frozenset({"history", *(key for ours in figures for key in ours.get("settings", {}))})


def _settings(table: Table, row: Row) -> dict[str, Any]:
    """All that a row's name would tell if it stood alone, as it does in this section."""
    return {**table.common, **row.variant}


def _line(name: str, figures: Mapping[str, Any], table: Table, row: Row) -> list[Cell]:
    record, auc = table.record, row.mean("auc")
    ours = [
        label_of(row.model, _settings(table, row)),
        spread(row.values("auc")),
        spread(row.values("logloss")),
        NOTHING if auc is None else number(auc - figures["auc"], sign="+"),
        record["split"]["preset"],
        record["split"]["ties"],
        _history(row),
        f"{record['rows']['test']:,}",
    ]
    theirs = [name, *(number(figures[key]) if key in figures else NOTHING for key in ("auc", "logloss"))]
    return [*map(cell, theirs), *(cell(text, row.runs) for text in ours)]


def _history(row: Row) -> str:
    history = row.runs[0].record["history"]
    return f"{history['kind']}, {history['length']}, {history['ties']}, {history.get('until') or 'online'}"


def _latencies(source: Mapping[str, Any]) -> list[str]:
    if "latency_unit" not in source:
        return []
    told = [f"{name} {figures['latency']:.2f}" for name, figures in source["figures"].items()]
    return [f"Published latency, {source['latency_unit']}: {', '.join(told)}; it compares with nothing here."]
