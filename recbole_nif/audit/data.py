"""Facts of a dataset and its split that decide what a click model's metrics are worth.

Simultaneous events leak labels where a row sees its own second; users of one class have no AUC; users and
items without a training row test something else than the rest. Each function takes the event log or plain
arrays and returns shares and numbers; :func:`dataset_facts` puts them side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recbole_nif.data.event_log import EventLog
from recbole_nif.data.fields import ROW_ID

NO_SPLIT = -1  # of an event that is not a sample


@dataclass(frozen=True)
class Share:
    """``count`` of ``total``."""

    count: int
    total: int

    @property
    def value(self) -> float:
        """Between 0 and 1; NaN of nothing."""
        return self.count / self.total if self.total else float("nan")

    def record(self) -> dict:
        """For JSON."""
        return {"share": self.value, "count": self.count, "total": self.total}

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({self.count:,} of {self.total:,})" if self.total else "none"


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation of two 0/1 labels over ``pairs``; NaN where one of them does not vary."""

    value: float
    pairs: int

    def record(self) -> dict:
        """For JSON."""
        return {"correlation": self.value, "pairs": self.pairs}

    def __str__(self) -> str:
        value = "undefined" if np.isnan(self.value) else f"{self.value:.3f}"
        return f"{value} ({self.pairs:,} pairs)"


@dataclass(frozen=True)
class Fact:
    """One line of the audit: a key for JSON, what it says in words, its value."""

    key: str
    text: str
    value: Share | Correlation


def dataset_facts(views: Sequence) -> list[Fact]:
    """All facts of the training, validation and test view of a built dataset."""
    train, valid, test = views
    log = train.event_log
    split = split_of_events(log, [view.inter_feat[ROW_ID] for view in views])
    groups, cut_users = cut_ties(log, split)
    inside, across = label_autocorrelation(log)
    test_rows = test.inter_feat
    users, rows = one_class(test_rows[test.uid_field], test_rows[test.label_field])
    facts = [
        Fact("tied_neighbors", "neighboring events of a user at one timestamp", tied_neighbors(log)),
        Fact(
            "test_rows_after_tie",
            "test rows with an earlier event at their own timestamp",
            rows_after_tie(log, test_rows[ROW_ID]),
        ),
        Fact("cut_tie_groups", "groups of simultaneous rows cut by the split", groups),
        Fact("cut_tie_users", "users with such a cut", cut_users),
        Fact("label_inside_ties", "correlation of neighboring labels at one timestamp", inside),
        Fact("label_across_ties", "correlation of neighboring labels at two timestamps", across),
        Fact("one_class_users", "test users of one class", users),
        Fact("one_class_rows", "test rows of such users", rows),
    ]
    for name, view in (("validation", valid), ("test", test)):
        for kind, field in (("user", train.uid_field), ("item", train.iid_field)):
            ids, cold_rows = cold(train.inter_feat[field], view.inter_feat[field])
            facts += [
                Fact(f"{name}_cold_{kind}s", f"{name} {kind}s without a training row", ids),
                Fact(f"{name}_rows_of_cold_{kind}s", f"{name} rows of such {kind}s", cold_rows),
            ]
    return facts


def split_of_events(log: EventLog, rows: Sequence[Tensor]) -> Tensor:
    """Which split the event is a sample of, [N] int64: 0, 1, ... as in ``rows``, or ``NO_SPLIT``.

    rows: row ids [R_s] of each split.
    """
    split = torch.full((len(log),), NO_SPLIT)
    for number, ids in enumerate(rows):
        split[log.position[ids].long()] = number
    return split


def tied_neighbors(log: EventLog) -> Share:
    """How many pairs of a user's neighboring events share a timestamp."""
    same_user = log.user[1:] == log.user[:-1]
    return _share((log.timestamp[1:] == log.timestamp[:-1])[same_user])


def rows_after_tie(log: EventLog, rows: Tensor) -> Share:
    """How many of ``rows`` [B] come after another event of their own user and timestamp in the log."""
    position = log.position[rows]
    return _share(position > log.tie_begin[position.long()])


def cut_ties(log: EventLog, split: Tensor) -> tuple[Share, Share]:
    """Groups of two or more simultaneous samples that lie in more than one split, and users with one.

    split: [N] int64 as of ``split_of_events``.
    """
    samples = split != NO_SPLIT
    _, group, size = log.tie_begin[samples].unique(return_inverse=True, return_counts=True)
    split, user = split[samples], log.user[samples].long()
    first = torch.zeros_like(size).scatter_reduce_(0, group, split, "amin", include_self=False)
    last = torch.zeros_like(size).scatter_reduce_(0, group, split, "amax", include_self=False)
    cut = first != last  # [groups]
    users = Share(len(user[cut[group]].unique()), len(user.unique()))
    return Share(int(cut.sum()), int((size > 1).sum())), users


def label_autocorrelation(log: EventLog) -> tuple[Correlation, Correlation]:
    """Correlation of the labels of a user's neighboring samples, at one timestamp and at two."""
    samples = slice(None) if log.samples is None else log.samples.positions.long()
    user, time, label = log.user[samples], log.timestamp[samples], log.label[samples].double()
    same_user, same_time = user[1:] == user[:-1], time[1:] == time[:-1]
    return tuple(
        _correlation(label[:-1][pairs], label[1:][pairs])
        for pairs in (same_user & same_time, same_user & ~same_time)
    )


def one_class(users: Tensor, labels: Tensor) -> tuple[Share, Share]:
    """Users whose rows are all clicked or all not, and their rows; ``users`` and ``labels`` are [B]."""
    _, user, rows = users.unique(return_inverse=True, return_counts=True)
    clicks = torch.bincount(user, weights=labels.double(), minlength=len(rows))
    single = (clicks == 0) | (clicks == rows)
    return _share(single), _share(single[user])


def cold(train_ids: Tensor, ids: Tensor) -> tuple[Share, Share]:
    """Distinct ``ids`` [B] that are not in ``train_ids`` [R], and the rows that hold them."""
    distinct, place = ids.unique(return_inverse=True)
    unseen = ~torch.isin(distinct, train_ids)
    return _share(unseen), _share(unseen[place])


def _share(member: Tensor) -> Share:
    return Share(int(member.sum()), len(member))


def _correlation(first: Tensor, second: Tensor) -> Correlation:
    pairs = torch.stack([first, second])
    varies = len(first) > 1 and bool((pairs.amin(1) < pairs.amax(1)).all())
    return Correlation(torch.corrcoef(pairs)[0, 1].item() if varies else float("nan"), len(first))
