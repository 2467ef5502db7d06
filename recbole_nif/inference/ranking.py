"""The best of many scores, always the same ones."""

import numpy as np


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Places of the ``k`` highest of ``scores`` [N], best first, equal ones by place; all if N < k."""
    if k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = np.flatnonzero(scores > least)
        places = np.concatenate([above, np.flatnonzero(scores == least)[: k - len(above)]])
    else:
        places = np.arange(len(scores))
    return places[np.lexsort((places, -scores[places]))]
