"""What is said below a table: runs that are missing, or left out, or not as alike as their row's name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from recbole_nif.publish.names import INDIFFERENT, PLACES, top

if TYPE_CHECKING:
    from recbole_nif.publish.runs import Absent, Row, Run

CHANGED = "which its name does not tell: defaults or tuned values have changed in between"


def of_rows(rows: Sequence[Row]) -> list[str]:
    """Rows whose runs differ in more than their seeds."""
    mixed = [row.label for row in rows if len({run.record["git_commit"] for run in row.runs}) > 1]
    told = "Runs of a row are of different commits, whose defaults may differ"
    notes = [f"{told}: {'; '.join(mixed)}."] if mixed else []
    for row in rows:
        keys = untold(row.runs)
        if keys:
            notes.append(f"Runs of {row.label} differ in {', '.join(keys)}, {CHANGED}.")
        if _have_other_ids(row.runs):
            notes.append(f"Runs of {row.label} read semantic IDs of one file name and different content.")
    return notes


def _have_other_ids(runs: Sequence[Run]) -> bool:
    """Whether semantic IDs that runs took from files differ, as the use of their codes tells."""
    given = [run.record.get("semantic_ids") for run in runs if run.settings.get("semantic_ids")]
    used = [
        (ids["health"]["distinct"], *(level["perplexity"] for level in ids["health"]["levels"]))
        for ids in given
        if ids
    ]
    return len(set(used)) > 1


def of_left_out(run: Run, later: Run) -> str:
    """A run in whose place a later one of its row and seed counts."""
    keys = untold([run, later])
    if keys:
        return f"{run.name} is left out: a later run of its seed differs in {', '.join(keys)}, {CHANGED}."
    return f"{run.name} is left out: a later run has the same settings and seed."


def untold(runs: Sequence[Run]) -> list[str]:
    """Keys in which configurations of a row's runs differ, as far as their folders tell them."""
    configs = [run.config for run in runs if run.config]
    keys = sorted({key for config in configs for key in config if top(key) not in INDIFFERENT | PLACES})
    return [key for key in keys if any(config.get(key) != configs[0].get(key) for config in configs)]


def of_unknown(runs: Iterable[Run]) -> list[str]:
    """Runs whose settings are not known."""
    unknown = [run.name for run in runs if not run.settings_known]
    return [f"Of settings only split and history are known: {', '.join(unknown)}."] if unknown else []


def of_absent(absent: Iterable[Absent]) -> list[str]:
    """A note for every row and reason."""
    return [
        f"{_names(same)} {'is' if len(same) == 1 else 'are'} missing: {same[0].why}."
        for same in grouped(absent, lambda run: (run.label, run.why))
    ]


def grouped(items: Iterable[Any], key: Callable[[Any], Hashable]) -> list[list]:
    """Items of equal key together, in order of appearance."""
    groups: dict[Hashable, list] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _names(absent: Sequence[Absent]) -> str:
    seeds = [str(run.seed) for run in absent if run.seed is not None]
    return absent[0].name if len(seeds) < 2 else f"{absent[0].label}, seeds {', '.join(seeds)}"
