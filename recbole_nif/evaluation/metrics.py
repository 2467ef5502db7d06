"""AUC, LogLoss, GAUC and RelaImpr on whole arrays, in float64 and unrounded.

AUC and GAUC come from one sort: rows ordered by (user, score) give every user's ranks at once, and
the rank sum of the clicked rows is the Mann-Whitney statistic. Tied scores get their average rank,
so a tie between a click and a non-click counts one half.
"""

from dataclasses import dataclass

import numpy as np

GAUC_WEIGHTS = ("impressions", "clicks", "uniform")


@dataclass(frozen=True)
class GAUCResult:
    """A GAUC value and what it covers; ``value`` is NaN where no user has both classes."""

    value: float
    users: int
    users_covered: int
    rows: int
    rows_covered: int
    weight: str


@dataclass(frozen=True)
class GroupedAUC:
    """The AUC of every group, by ascending group."""

    auc: np.ndarray  # [G], NaN for a group with one class
    rows: np.ndarray  # [G]
    clicks: np.ndarray  # [G]

    def weights(self, kind: str) -> np.ndarray:
        """Weights [G] of a mean of the AUCs, 0 for a group with one class; ``kind`` as in ``gauc``."""
        kinds = {"impressions": self.rows, "clicks": self.clicks, "uniform": np.ones_like(self.rows)}
        return np.where(np.isnan(self.auc), 0.0, kinds[kind])


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve of ``scores`` [N] for 0/1 ``labels`` [N]; NaN when one class is absent."""
    grouped = grouped_auc(np.zeros(len(labels), dtype=np.int8), labels, scores)
    return float(grouped.auc[0]) if len(labels) else float("nan")


def gauc(
    users: np.ndarray, labels: np.ndarray, scores: np.ndarray, weight: str = "impressions"
) -> GAUCResult:
    """AUC per user, averaged over the users that have both classes.

    Args:
        users, labels, scores: arrays [N]; ``labels`` are 0/1.
        weight: a user's weight: ``impressions`` (rows; the definition of FuxiCTR and RecBole3.0),
            ``clicks`` (as RecBole's ranking GAUC) or ``uniform``.
    """
    if weight not in GAUC_WEIGHTS:
        raise ValueError(f"GAUC weight {weight!r} is none of {', '.join(GAUC_WEIGHTS)}")
    grouped = grouped_auc(users, labels, scores)
    weights = grouped.weights(weight)
    covered = weights > 0
    value = np.average(grouped.auc[covered], weights=weights[covered]) if covered.any() else np.nan
    return GAUCResult(
        value=float(value),
        users=len(grouped.rows),
        users_covered=int(covered.sum()),
        rows=len(labels),
        rows_covered=int(grouped.rows[covered].sum()),
        weight=weight,
    )


def logloss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean of ``row_losses``; NaN without rows."""
    return float(np.mean(row_losses(labels, probabilities))) if len(labels) else float("nan")


def row_losses(labels: np.ndarray, probabilities: np.ndarray, eps: float = 1e-15) -> np.ndarray:
    """Negative log likelihood [N] of 0/1 ``labels`` [N]; probabilities are clipped as RecBole does."""
    y = np.asarray(labels, dtype=np.float64)
    p = np.clip(np.asarray(probabilities, dtype=np.float64), eps, 1.0 - eps)
    return -(y * np.log(p) + (1.0 - y) * np.log1p(-p))


def relaimpr(auc_model: float, auc_base: float) -> float:
    """Relative improvement of an AUC over a base, in percent of the base's lead over chance (GenCI, Eq. 13).

    NaN for a base at chance, where the ratio has no meaning.
    """
    if auc_base == 0.5:
        return float("nan")
    return ((auc_model - 0.5) / (auc_base - 0.5) - 1.0) * 100.0


def grouped_auc(groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> GroupedAUC:
    """The AUC within every group of ``groups`` [N], by one sort."""
    scores = np.asarray(scores, dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN")
    order = np.lexsort((scores, groups))
    group, score = np.asarray(groups)[order], scores[order]
    click = np.asarray(labels)[order] > 0.5

    new_group = _run_starts(group)
    new_score = new_group | _run_starts(score)
    group_first = np.flatnonzero(new_group)
    score_first = np.flatnonzero(new_score)

    score_end = np.append(score_first[1:], len(score))
    mean_position = (score_first + score_end - 1) / 2.0  # of a run of tied scores, over all groups
    run = np.cumsum(new_score) - 1
    group_of = np.cumsum(new_group) - 1
    rank = mean_position[run] - group_first[group_of] + 1.0  # 1-based within the group

    n_groups = len(group_first)
    rows = np.bincount(group_of, minlength=n_groups)
    clicks = np.bincount(group_of[click], minlength=n_groups)
    rank_sum = np.bincount(group_of[click], weights=rank[click], minlength=n_groups)
    pairs = clicks * (rows - clicks)
    wins = rank_sum - clicks * (clicks + 1) / 2.0
    return GroupedAUC(auc=np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan), rows=rows, clicks=clicks)


def _run_starts(values: np.ndarray) -> np.ndarray:
    starts = np.ones(len(values), dtype=bool)
    starts[1:] = values[1:] != values[:-1]
    return starts
