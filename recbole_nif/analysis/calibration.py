"""Whether probabilities are true: the reliability curve, the expected calibration error, and what it costs.

AUC sees the order of the scores only, LogLoss also whether a score of 0.8 is right four times of five. A
model can win one and lose the other: ``rescaled_logloss`` tells how much of a LogLoss is due to the scale.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from recbole_nif.evaluation.metrics import logloss

BINS = 15
WEAK_PENALTY = 1e9  # C of the regression: in effect none


@dataclass(frozen=True)
class Reliability:
    """Rows in bins of equal mass by score: rows, mean score and share of clicks of each bin, [bins]."""

    rows: np.ndarray
    score: np.ndarray
    rate: np.ndarray

    @property
    def ece(self) -> float:
        """Expected calibration error: sum_b rows_b / N |score_b - rate_b|.

        Naeini, Cooper and Hauskrecht, AAAI 2015, but with bins of equal mass: bins of equal width hold next
        to no rows where a model rarely scores. NaN without rows.
        """
        total = self.rows.sum()
        return float(self.rows @ np.abs(self.score - self.rate) / total) if total else float("nan")


def reliability(labels: np.ndarray, scores: np.ndarray, bins: int = BINS) -> Reliability:
    """The reliability curve of probabilities ``scores`` [N] for 0/1 ``labels`` [N].

    A row is in bin floor(bins * (rank - 1/2) / N), rank being the mean rank of its score, so that equal
    scores share a bin; bins that stay empty are left out.
    """
    if not len(scores):
        return Reliability(*np.zeros((3, 0)))
    number = np.floor(bins * (rankdata(scores) - 0.5) / len(scores)).astype(np.int64)
    rows = np.bincount(number, minlength=bins)
    filled = rows > 0
    means = (np.bincount(number, weights=values, minlength=bins)[filled] for values in (scores, labels))
    return Reliability(rows[filled], *(sums / rows[filled] for sums in means))


def rescaled_logloss(labels: np.ndarray, scores: np.ndarray) -> float:
    """The LogLoss after the best change of scale, logit -> a logit + b, found on these very rows.

    Two numbers fitted to all rows hardly flatter; what is left is what the order of the scores is worth.
    NaN where one class is absent.
    """
    if len(np.unique(labels)) < 2:
        return float("nan")
    clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
    logit = (np.log(clipped) - np.log1p(-clipped))[:, None]
    fitted = LogisticRegression(C=WEAK_PENALTY).fit(logit, labels)
    return logloss(labels, fitted.predict_proba(logit)[:, 1])
