"""Paired differences between rows of a table: which pairs, and a table with 95 % intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recbole_nif.errors import UserError
from recbole_nif.evaluation.compare import (
    METRICS,
    DelongTest,
    Difference,
    Resampled,
    delong,
    paired_differences,
    resample_users,
)
from recbole_nif.evaluation.scored_rows import SCORES_FILE, ScoredRows
from recbole_nif.publish.blocks import Cell, Grid, cell, seeds
from recbole_nif.publish.runs import Row, Run, Table
from recbole_nif.publish.text import NOTHING, number

RESAMPLES = 1000

# A model's fair rival sees the same past: (model, its rival, what the rival is told besides)
RIVALS = (("AMEN", "NIFDIN", {"history": "all_with_label"}),)

COLUMNS = (
    "difference", "seeds", "AUC", "excludes 0", "AUC by seed", "DeLong p by seed", "GAUC", "LogLoss",
)  # fmt: skip

EXPLANATION = f"""\
First minus second, mean over the seeds that both have, on the same test rows. Intervals: 95 % of
{RESAMPLES:,} bootstrap resamples of users, the same users for all seeds; they cover the choice of test users,
not of seeds, for which see the differences by seed. DeLong's test takes rows as independent. Of two LogLosses
the lower is better."""

Pair = tuple[Row, Row]


def default_pairs(table: Table) -> list[Pair]:
    """Every variant minus its model's default row, and models minus their rivals."""
    pairs = []
    for row in table.rows:
        bases = [base for base in table.rows if base.is_base_of(row)]
        pairs += [(row, min(bases, key=lambda base: len(base.variant)))] if bases else []
    for model, rival, told in RIVALS:
        row = table.default_of(model)
        wanted = row.variant | told if row else None
        pairs += [(row, other) for other in table.rows if (other.model, other.variant) == (rival, wanted)]
    return pairs


@dataclass(frozen=True)
class Compared:
    """Two rows on the same test rows.

    Attributes:
        first, second: the rows; differences are first minus second.
        seeds: the seeds that both have, with scores that can be compared.
        found: difference by metric; empty without seeds.
        tests: DeLong's test by seed.
        reasons: why seeds are left out.
    """

    first: Row
    second: Row
    seeds: Sequence[int] = ()
    found: Mapping[str, Difference] = field(default_factory=dict)
    tests: Sequence[DelongTest] = ()
    reasons: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What is compared."""
        return f"{self.first.label} − {self.second.label}"

    @property
    def is_variant(self) -> bool:
        """Whether the first is the second with further settings."""
        return self.second.is_base_of(self.first)


def compare(pairs: Iterable[Pair]) -> list[Compared]:
    """Every pair once."""
    pairs = list(dict.fromkeys(pairs))
    scores = _Scores([run for pair in pairs for row in pair for run in row.runs])
    return [_compare(*pair, scores) for pair in pairs]


def difference_grid(compared: Sequence[Compared]) -> Grid:
    """The table of differences."""
    return Grid(COLUMNS, [_line(one) for one in compared], linked="seeds")


def reasons(compared: Iterable[Compared]) -> list[str]:
    """Why figures are missing."""
    return list(dict.fromkeys(reason for one in compared for reason in one.reasons))


def _compare(first: Row, second: Row, scores: "_Scores") -> Compared:
    common = sorted(first.by_seed.keys() & second.by_seed.keys())
    if not common:
        return Compared(first, second, reasons=[f"{Compared(first, second).name}: no seed in common."])
    objections = {seed: scores.not_comparable(first.by_seed[seed], second.by_seed[seed]) for seed in common}
    usable = [seed for seed in common if objections[seed] is None]
    found = [reason for reason in objections.values() if reason]
    if not usable:
        return Compared(first, second, reasons=found)
    runs = [[row.by_seed[seed] for seed in usable] for row in (first, second)]
    differences = paired_differences(*([scores.resampled(run) for run in side] for side in runs))
    tests = [scores.delong(*both) for both in zip(*runs, strict=True)]
    return Compared(first, second, usable, differences, tests, found)


def _line(compared: Compared) -> list[Cell]:
    if not compared.seeds:
        return [cell(compared.name), *[cell(NOTHING)] * (len(COLUMNS) - 1)]
    runs = [compared.first.by_seed[seed] for seed in compared.seeds]
    auc = compared.found["auc"]
    texts = [
        interval(auc),
        _verdict(auc),
        " ".join(number(value, sign="+") for value in auc.by_seed),
        " ".join(_p_value(test) for test in compared.tests),
        *(interval(compared.found[metric]) for metric in METRICS if metric != "auc"),
    ]
    return [cell(compared.name, runs), Cell(seeds(runs)), *(cell(text, runs) for text in texts)]


class _Scores:
    """The test scores of runs, read once, and their bootstrap resamples, drawn once."""

    def __init__(self, runs: Sequence[Run]):
        self._rows = {run: _read(run) for run in runs}
        users = [rows.user for rows in self._rows.values() if rows is not None]
        self._users = np.unique(np.concatenate(users)) if users else np.empty(0)
        self._resampled: dict[Run, Resampled] = {}

    def not_comparable(self, first: Run, second: Run) -> str | None:
        """Why two runs cannot be compared, None if they can."""
        for run in (first, second):
            if self._rows[run] is None:
                return f"{run.name} has no {SCORES_FILE} that can be read."
        same = self._rows[first].same_rows(self._rows[second])
        return None if same else f"{first.name} and {second.name} were not tested on the same rows."

    def resampled(self, run: Run) -> Resampled:
        if run not in self._resampled:
            rows = self._rows[run]
            self._resampled[run] = resample_users(rows, self._users, run.gauc_weight, RESAMPLES)
        return self._resampled[run]

    def delong(self, first: Run, second: Run) -> DelongTest:
        rows = self._rows[first]
        return delong(rows.label, rows.score, self._rows[second].score)


def _read(run: Run) -> ScoredRows | None:
    """The test scores of a run; None for a copy of its record, and for a run that did not keep them."""
    try:
        return ScoredRows.load(run.file.with_name(SCORES_FILE)) if run.is_folder else None
    except UserError:
        return None


def interval(difference: Difference) -> str:
    """``value [low, high]``."""
    low, high = (number(bound, sign="+") for bound in (difference.low, difference.high))
    return f"{number(difference.value, sign='+')} [{low}, {high}]"


def _verdict(difference: Difference) -> str:
    word = "yes" if difference.excludes_zero else "no"
    if len(difference.by_seed) == 1:
        return f"{word}; one seed: no sign claimed"
    return f"{word}; seeds disagree" if min(difference.by_seed) < 0 < max(difference.by_seed) else word


def _p_value(test: DelongTest) -> str:
    return "<.001" if test.p_value < 0.001 else f"{test.p_value:.3f}".removeprefix("0")
