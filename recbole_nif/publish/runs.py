"""Finished runs as rows of tables: which ones differ by the seed only, and what a row is called."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from recbole_nif.config_keys import DATA_KEYS
from recbole_nif.config_parsing import flatten, load_yaml
from recbole_nif.publish import table_notes
from recbole_nif.publish.names import label_of, setting, settings_of, top, variant_of
from recbole_nif.publish.table_notes import grouped
from recbole_nif.results import RESULT_FILE, read_result, seconds_of

CONFIG_FILE = "config.yaml"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        record: its result.json.
        settings: the values that differ from the defaults of its model and dataset, by dotted key.
        file: the result.json, None for a record in memory.
        settings_known: False for a record of an older version without the run's config.yaml beside it;
            ``settings`` then tells of split and history only.
        common: those of its settings that all rows of its table share.
    """

    record: Mapping[str, Any]
    settings: Mapping[str, Any]
    file: Path | None = None
    settings_known: bool = True
    common: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Mapping[str, Any], file: Path | None = None) -> "Run":
        """A run by its record, and the file that holds it."""
        if record.get("settings") is not None:
            return cls(record, record["settings"], file)
        config = file.with_name(CONFIG_FILE) if file and file.name == RESULT_FILE else None
        known = config is not None and config.is_file()
        values = load_yaml(config) if known else _told_by(record)
        return cls(record, settings_of(record["model"], record["dataset"], values), file, known)

    @property
    def seed(self) -> int:
        return self.record["seed"]

    @property
    def name(self) -> str:
        """What to call it in a published note, which is no place for paths of a machine."""
        if self.file is None:
            return f"{self.label}, seed {self.seed}"
        return self.file.resolve().parent.name if self.is_folder else self.file.name

    @property
    def is_folder(self) -> bool:
        """Whether the record lies in the run's own folder, where further files of the run are."""
        return self.file is not None and self.file.name == RESULT_FILE

    @cached_property
    def variant(self) -> dict[str, Any]:
        """The settings that a row's label must tell."""
        return _without(variant_of(self.settings), self.common)

    @cached_property
    def data(self) -> str:
        """The settings of the data, where they are not the dataset's own."""
        settings = sorted(self.settings.items())
        return ", ".join(setting(*item) for item in settings if top(item[0]) in DATA_KEYS)

    @cached_property
    def label(self) -> str:
        """The model and its variant, such as ``AMEN use_sam=False``."""
        return label_of(self.record["model"], self.variant)

    @cached_property
    def config(self) -> dict[str, Any]:
        """All values by dotted key, where the run's folder still tells them."""
        file = self.file.with_name(CONFIG_FILE) if self.is_folder else None
        return dict(flatten(load_yaml(file))) if file and file.is_file() else {}

    @property
    def latency(self) -> float | None:
        """Milliseconds to score 1,000 test rows, end to end; None where it was not measured."""
        scoring = self.record.get("scoring")
        return 1e6 * scoring["seconds"] / scoring["rows"] if scoring and scoring["rows"] else None

    @property
    def hours(self) -> float:
        """Hours of the run."""
        return seconds_of(self.record) / 3600

    @property
    def gauc_weight(self) -> str:
        """What a user's AUC is weighted by."""
        tested = (self.record["test"] or {}).get("gauc_weight")
        return tested or self.settings.get("gauc_weight") or "impressions"

    @property
    def conditions(self) -> str:
        """What runs of one table share: the rows, what a row may see of the past, and the weights of GAUC."""
        record = self.record
        history = {key: record["history"].get(key) for key in ("ties", "until")}
        sizes = {
            part: size for part, size in record["rows"].items() if part != "duplicates"
        }  # not always told
        shared = [record["dataset"], self.data, record["split"], sizes, history, self.gauc_weight]
        return json.dumps(shared, sort_keys=True)


@dataclass(frozen=True)
class Absent:
    """A run without a result.

    Attributes:
        settings: as of ``Run``.
        why: in words.
        split, seed: None where they are not known.
        common: as of ``Run``.
    """

    model: str
    dataset: str
    settings: Mapping[str, Any]
    why: str
    split: str | None = None
    seed: int | None = None
    common: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variant(self) -> dict[str, Any]:
        """The settings that its row's label would tell."""
        return _without(variant_of(self.settings), self.common)

    @property
    def label(self) -> str:
        """The row that the run would be part of."""
        return label_of(self.model, self.variant)

    @property
    def name(self) -> str:
        """What to call it in a note."""
        return self.label + ("" if self.seed is None else f", seed {self.seed}")

    def belongs_to(self, record: Mapping[str, Any]) -> bool:
        """Whether it would have been run on the dataset and split of a record."""
        return self.dataset == record["dataset"] and self.split in (None, record["split"]["preset"])


def _told_by(record: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration values that every result.json holds."""
    split, history = record["split"], record["history"]
    return {
        "split_preset": split["preset"],
        "split_ties": split["ties"],
        "history": history["kind"],
        "history_ties": history["ties"],
        "history_until": history["until"],
        "MAX_ITEM_LIST_LENGTH": history["length"],
    }


@dataclass(frozen=True, eq=False)
class Row:
    """Runs that differ by the seed only, by ascending seed."""

    label: str
    runs: tuple[Run, ...]

    @property
    def model(self) -> str:
        return self.runs[0].record["model"]

    @property
    def variant(self) -> dict[str, Any]:
        return self.runs[0].variant

    @property
    def by_seed(self) -> dict[int, Run]:
        return {run.seed: run for run in self.runs}

    def values(self, metric: str) -> list[float | None]:
        """The metric on the test rows, by seed; None where it is undefined."""
        return [run.record["test"].get(metric) for run in self.runs]

    def mean(self, metric: str) -> float | None:
        """The metric's mean over the seeds; None if it is undefined for one."""
        values = self.values(metric)
        return None if None in values else statistics.mean(values)

    def is_base_of(self, other: "Row") -> bool:
        """Whether ``other`` is the same model with further settings."""
        return self.model == other.model and self.variant.items() < other.variant.items()


@dataclass(frozen=True)
class Table:
    """Rows on the same conditions: a model's default first, its variants after it; and what was left out.

    Attributes:
        runs: those of the rows, and those that were left out.
        absent: runs without a result on the table's dataset and split.
        common: settings that are not the default and the same in all rows, whose labels leave them out.
    """

    rows: list[Row]
    runs: list[Run]
    notes: list[str]
    absent: list[Absent] = field(default_factory=list)
    common: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> Mapping[str, Any]:
        """The record of any of its runs, for what they share."""
        return self.runs[0].record

    def row(self, label: str) -> Row | None:
        """The row of that name."""
        return next((row for row in self.rows if row.label == label), None)

    def default_of(self, model: str) -> Row | None:
        """The model's row with the fewest settings of its own."""
        return min((row for row in self.rows if row.model == model), key=_settings, default=None)


def read_runs(paths: Iterable[str | Path]) -> list[Run]:
    """The runs in folders or result.json files.

    Raises:
        UserError: a path holds no result.
    """
    files = [path / RESULT_FILE if path.is_dir() else path for path in map(Path, paths)]
    return [Run.of(read_result(file), file) for file in files]


def tables_of(runs: Sequence[Run], absent: Sequence[Absent] = ()) -> list[Table]:
    """The runs by conditions, in order of appearance; of a row's seed the latest run counts."""
    return [_table(group, absent) for group in grouped(runs, lambda run: run.conditions)]


def _table(runs: list[Run], absent: Sequence[Absent]) -> Table:
    missing = [run for run in absent if run.belongs_to(runs[0].record)]
    common = _common([*(run for run in runs if run.record["test"]), *missing])
    runs, missing = ([replace(run, common=common) for run in some] for some in (runs, missing))
    notes = [f"{run.name} was not tested (stage 1 only)." for run in runs if not run.record["test"]]
    tested = [run for run in runs if run.record["test"]]
    rows = []
    for same in grouped(tested, lambda run: run.label):
        # of a run and the copy of its record the run counts: it has the scores
        latest = {run.seed: run for run in sorted(same, key=lambda run: (run.record["date"], run.is_folder))}
        left_out = [run for run in same if run is not latest[run.seed]]
        notes += [table_notes.of_left_out(run, latest[run.seed]) for run in left_out]
        rows.append(Row(same[0].label, tuple(latest[seed] for seed in sorted(latest))))
    notes += table_notes.of_rows(rows)
    models = list(dict.fromkeys(row.model for row in rows))
    rows.sort(key=lambda row: (models.index(row.model), _settings(row)))
    notes += [*table_notes.of_unknown(tested), *table_notes.of_absent(missing)]
    return Table(rows, runs, notes, missing, common)


def _common(runs: Sequence[Run | Absent]) -> dict[str, Any]:
    """The settings that all labels would tell alike; none if there is one label only."""
    if len({run.label for run in runs}) < 2:
        return {}
    first, *others = (run.variant for run in runs)
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


def _without(variant: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in variant.items() if key not in common}


def _settings(row: Row) -> tuple[int, str]:
    return len(row.variant), row.label
