"""Groups of test rows, told by what was known before each row, and a model's metrics inside each group.

No group is told by a test label. Volatility and popularity are counted on training rows alone; history
length and time since the last event are what the row itself may see (``history_ties``, ``history_until``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch

from recbole_nif.analysis.volatility import user_volatility
from recbole_nif.data.event_log import EventLog
from recbole_nif.evaluation.flow_probe import COLD
from recbole_nif.evaluation.scored_rows import ScoredRows
from recbole_nif.evaluation.scoring import Evaluation

HEAD_SHARE = 0.2  # of the items with a training click
LENGTHS = (0, 5, 20, 50, 100, 200)  # where a group of histories begins, events
GAPS = {
    "< 1 min": 0,
    "< 1 h": 60,
    "< 1 day": 3600,
    "< 1 week": 86_400,
    "≥ 1 week": 604_800,
}  # name -> begin, s


@dataclass(frozen=True)
class Grouping:
    """Rows in disjoint groups, each row in one.

    Attributes:
        key: its name in files.
        title: what is grouped by, for a reader.
        rule: how the groups are made, a sentence.
        names: the groups, [G].
        group: [N] which group each row is in.
    """

    key: str
    title: str
    rule: str
    names: tuple[str, ...]
    group: np.ndarray

    def members(self) -> list[tuple[str, np.ndarray]]:
        """Every group that has rows, with their places [n]."""
        places = [np.flatnonzero(self.group == number) for number in range(len(self.names))]
        return [(name, rows) for name, rows in zip(self.names, places, strict=True) if len(rows)]


def groupings(test, rows: ScoredRows, sets: sp.csr_matrix | None) -> list[Grouping]:
    """All groupings of the scored ``rows``.

    Args:
        test: the view of the test rows; its log and training counts are those of the whole dataset.
        sets: the items' categories; None leaves volatility out.
    """
    log, ids = test.event_log, torch.from_numpy(rows.row_id).long()
    found = [] if sets is None else [by_volatility(log, test.train_rows, sets, rows.user)]
    items = log.item[log.position[ids].long()].numpy()
    return [
        *found,
        by_history_length(log, ids),
        by_popularity(test.train_item_count.numpy(), items),
        by_gap(log, ids),
    ]


def by_volatility(
    log: EventLog, train_rows: torch.Tensor, sets: sp.csr_matrix, users: np.ndarray
) -> Grouping:
    """Users whose interests change slowly or fast: ``users`` [N], the user of each row."""
    volatility = user_volatility(log, train_rows, sets)
    known = np.unique(users)
    known = known[~np.isnan(volatility[known])]
    median = np.median(volatility[known]) if len(known) else np.nan
    own = volatility[users]
    group = np.where(np.isnan(own), 2, np.where(own > median, 1, 0))
    rule = (
        f"Mean Jaccard distance of the categories of a user's consecutive training clicks; fast is above "
        f"the median of the test users, {median:.3f}; unknown has fewer than two such clicks."
    )
    return Grouping("volatility", "interest volatility", rule, ("slow", "fast", "unknown"), group)


def by_history_length(log: EventLog, rows: torch.Tensor) -> Grouping:
    """How many labeled events each row [N] may see."""
    begin, end = log.visible(rows)
    if log.samples is not None:
        begin, end = log.samples.range(begin, end)
    group = np.searchsorted(LENGTHS, (end - begin).numpy(), side="right") - 1
    ends = [f"–{after - 1}" for after in LENGTHS[1:]]
    names = tuple(f"{length}{end}" for length, end in zip(LENGTHS, [*ends, "+"], strict=True))
    rule = "Labeled events of the user that the row may see, however long a history the model reads."
    return Grouping("history", "history length", rule, names, group)


def by_popularity(train_item_count: np.ndarray, items: np.ndarray) -> Grouping:
    """Cold, tail and head items: ``train_item_count`` [n_items] training clicks, ``items`` [N] of the rows.

    The head is the fifth of the clicked items that has most clicks, ties with its last item too.
    """
    clicked = np.sort(train_item_count[train_item_count > 0])[::-1]
    last = clicked[max(0, int(np.ceil(HEAD_SHARE * len(clicked))) - 1)] if len(clicked) else 0
    head = max(int(last), COLD)
    group = np.searchsorted([COLD, head], train_item_count[items], side="right")
    rule = (
        f"Training clicks of the row's item: cold has fewer than {COLD}, head at least {head} "
        f"(the top {HEAD_SHARE:.0%} of the clicked items)."
    )
    return Grouping("popularity", "item popularity", rule, ("cold", "tail", "head"), group)


def by_gap(log: EventLog, rows: torch.Tensor) -> Grouping:
    """The time between each row [N] and the last event that it may see."""
    begin, end = log.visible(rows)
    last = log.timestamp[(end - 1).clamp(min=0)]
    elapsed = (log.timestamp[log.position[rows].long()] - last).double().numpy()
    group = np.searchsorted(list(GAPS.values()), elapsed, side="right")
    group = np.where((end > begin).numpy(), group, 0)
    rule = "From the last event that the row may see to the row."
    return Grouping("gap", "time since the last event", rule, ("no event", *GAPS), group)


def metrics_of(rows: ScoredRows, places: np.ndarray, gauc_weight: str | None) -> Evaluation:
    """AUC, GAUC and LogLoss of the rows at ``places`` [n]; GAUC takes of each user these rows only."""
    return Evaluation.of(rows.user[places], rows.label[places], rows.score[places], gauc_weight)


def everything(n_rows: int) -> Grouping:
    """All rows as one group."""
    return Grouping("all", "all rows", "", ("all",), np.zeros(n_rows, dtype=np.int64))


def sizes(rows: ScoredRows, places: Sequence[int]) -> tuple[int, int, float]:
    """Rows, users and share of clicks of the rows at ``places`` [n]."""
    return len(places), len(np.unique(rows.user[places])), float(rows.label[places].mean())
