"""Whether two models differ on the same test rows: DeLong's test, and a bootstrap over users.

DeLong's test knows the AUC only and takes rows as independent. Rows of one user are not, so the interval
to report is the bootstrap's: it resamples whole users, for AUC, GAUC and LogLoss at once.

Several seeds: a difference is the mean of the seeds' differences, and every resample takes the same users
for all seeds. The interval therefore covers the choice of test users, given these trained models; how far
seeds scatter is another question, and the seeds' own differences (``Difference.by_seed``) answer it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from recbole_nif.evaluation.metrics import grouped_auc, row_losses
from recbole_nif.evaluation.scored_rows import ScoredRows

METRICS = ("auc", "gauc", "logloss")  # the order of a Resampled's columns
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class DelongTest:
    """The first AUC minus the second, with the normal 95 % interval and the two-sided p-value."""

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float


def delong(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> DelongTest:
    """Tests whether two scores of the same rows have the same AUC, in O(N log N).

    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845; by midranks as Sun and Xu, IEEE Signal
    Processing Letters 21 (2014) 1389-1393. The variance of the difference is that of the differences of
    the structural components, so no covariance matrix is needed.

    Args:
        labels, first, second: arrays [N]; NaN comes out with fewer than two rows of a class.
    """
    clicked = np.asarray(labels) > 0.5
    m, n = int(clicked.sum()), int((~clicked).sum())
    if min(m, n) < 2:
        return DelongTest(*[math.nan] * 5)
    of_first, of_second = _components(clicked, first), _components(clicked, second)
    of_clicks, of_others = (a - b for a, b in zip(of_first, of_second, strict=True))  # [m], [n]
    difference = float(of_clicks.mean())
    error = math.sqrt(of_clicks.var(ddof=1) / m + of_others.var(ddof=1) / n)
    p_value = math.erfc(abs(difference) / error / math.sqrt(2)) if error else float(difference == 0)
    half = NORMAL_95 * error
    return DelongTest(difference, error, difference - half, difference + half, p_value)


def _components(clicked: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each click the share of other rows below it, for each other row the share of clicks above it.

    Ties count one half; both have the AUC as their mean.
    """
    rank, m, n = rankdata(scores), int(clicked.sum()), int((~clicked).sum())
    below = (rank[clicked] - rankdata(scores[clicked])) / n
    above = 1.0 - (rank[~clicked] - rankdata(scores[~clicked])) / m
    return below, above


@dataclass(frozen=True)
class Resampled:
    """AUC, GAUC and LogLoss of one run's scores, and of the same rows with users drawn again."""

    values: np.ndarray  # [3]
    draws: np.ndarray  # [resamples, 3]


def resample_users(
    rows: ScoredRows,
    population: np.ndarray,
    gauc_weight: str = "impressions",
    resamples: int = 1000,
    seed: int = 0,
) -> Resampled:
    """Draws as many users as there are, with replacement, and weights their rows by how often they came.

    The draws are a function of ``seed``, ``resamples`` and the size of ``population``: runs resampled with
    the same three can be compared draw by draw.

    Args:
        population: [U] ascending ids of the users that are drawn, all users of ``rows`` among them.
        gauc_weight: as in ``gauc``.

    Returns:
        NaN in a draw without two classes (AUC), or without a user that has both (GAUC).
    """
    metrics = _WeightedMetrics(rows, population, gauc_weight)
    rng, users = np.random.default_rng(seed), len(population)
    draws = np.empty((resamples, len(METRICS)))
    for draw in draws:
        draw[:] = metrics(np.bincount(rng.integers(users, size=users), minlength=users).astype(np.float64))
    return Resampled(metrics(np.ones(users)), draws)


class _WeightedMetrics:
    """AUC, GAUC and LogLoss as functions of the users' weights [U]: one sort here, one pass per call."""

    def __init__(self, rows: ScoredRows, population: np.ndarray, gauc_weight: str):
        user = np.searchsorted(population, rows.user)  # [N]
        order = np.argsort(rows.score)
        score = rows.score[order]
        self.user, self.clicked = user[order], rows.label[order] > 0.5
        self.ties = np.flatnonzero(np.append(True, score[1:] != score[:-1]))  # where a new score begins

        grouped, present = grouped_auc(user, rows.label, rows.score), np.unique(user)
        self.user_auc, self.user_weight = np.zeros((2, len(population)))
        self.user_auc[present] = np.nan_to_num(grouped.auc)
        self.user_weight[present] = grouped.weights(gauc_weight)

        losses = row_losses(rows.label, rows.score)
        self.user_loss = np.bincount(user, weights=losses, minlength=len(population))
        self.user_rows = np.bincount(user, minlength=len(population))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        weighted = self.user_weight * weights
        with np.errstate(invalid="ignore"):  # 0 / 0 = NaN is what we say of an undefined metric
            gauc = weighted @ self.user_auc / weighted.sum()
            loss = self.user_loss @ weights / (self.user_rows @ weights)
            return np.array([self._auc(weights[self.user]), gauc, loss])

    def _auc(self, weight: np.ndarray) -> float:
        """Weight of the pairs won, ties half, among all pairs of a click and another row; weight [N]."""
        clicks = np.add.reduceat(weight * self.clicked, self.ties)  # [scores]
        others = np.add.reduceat(weight, self.ties) - clicks
        below = np.cumsum(others) - others / 2
        return clicks @ below / (clicks.sum() * others.sum())


@dataclass(frozen=True)
class Difference:
    """The first model's metric minus the second's: mean over seeds, and its bootstrap 95 % interval."""

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def paired_differences(first: Sequence[Resampled], second: Sequence[Resampled]) -> dict[str, Difference]:
    """Differences of AUC, GAUC and LogLoss; the runs of both sides in the same order of seeds.

    Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13); NaN
    where a draw is undefined.
    """
    by_seed = np.stack([a.values - b.values for a, b in zip(first, second, strict=True)])  # [S, 3]
    draws = np.mean([a.draws - b.draws for a, b in zip(first, second, strict=True)], axis=0)  # [resamples, 3]
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    return {
        name: Difference(value, low[place], high[place], tuple(by_seed[:, place].tolist()))
        for place, (name, value) in enumerate(zip(METRICS, by_seed.mean(axis=0).tolist(), strict=True))
    }
