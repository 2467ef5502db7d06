"""How fast a user's interests change: the mean Jaccard distance of the categories of consecutive clicks.

The idea of Table 5 of the Next Interest Flow (arXiv 2510.11317), which groups users by it; reconstruction,
since the paper's definition was not seen. An item has a set of categories, such as the genres of a movie:

    d(A, B) = 1 - |A & B| / |A | B| ,   volatility of a user = mean of d over pairs of neighboring clicks

Only clicks of the training split count, so that no test row tells in which group its user is.
"""

import numpy as np
import scipy.sparse as sp
import torch
from recbole.utils import FeatureSource, FeatureType

from recbole_nif.data.event_log import EventLog
from recbole_nif.errors import UserError

WORDS = ("genre", "class", "categor", "cate", "tag")  # in the name of a column of categories


def category_field(dataset, chosen: str | None = None) -> str | None:
    """The column of the items that says their categories, None where no column looks like one.

    Without ``chosen`` the field of the scenes, if items have it, else the first with one of ``WORDS``.

    Raises:
        UserError: ``chosen`` is not a token column of the items.
    """
    kinds = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
    columns = dataset.fields(source=[FeatureSource.ITEM], ftype=list(kinds))
    if chosen is not None and chosen not in columns:
        known = ", ".join(columns) or "none"
        raise UserError(f"--category is {chosen!r}, but token columns of the items are: {known}.")
    scenes = dataset.config["scene_field"] or []
    wanted = [chosen] if chosen else [scenes] if isinstance(scenes, str) else [*scenes]
    named = [name for word in WORDS for name in columns if word in name.lower()]
    return next((name for name in [*wanted, *named] if name in columns), None)


def item_categories(dataset, field: str) -> sp.csr_matrix:
    """Which categories each item has, 0/1 [n_items, n_categories]; an empty token is none."""
    ids = dataset.get_item_feature()[field].numpy()  # [n_items] or [n_items, S], 0 = padding
    missing = dataset.field2token_id[field].get("", 0)
    return multi_hot(np.where(ids == missing, 0, ids), dataset.num(field))


def multi_hot(ids: np.ndarray, n_categories: int) -> sp.csr_matrix:
    """Sets as rows of 0 and 1: ``ids`` [M] or [M, S], 0 = padding -> [M, n_categories]."""
    ids = ids.reshape(len(ids), -1)
    row, place = np.nonzero(ids)
    entries = np.ones(len(row), dtype=np.int32), (row, ids[row, place])
    sets = sp.csr_matrix(entries, shape=(len(ids), n_categories))
    sets.data[:] = 1  # a category that is named twice
    return sets


def jaccard_distances(sets: sp.csr_matrix, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """d of the sets ``first`` [P] and ``second`` [P], row numbers of ``sets`` -> [P]; 0 of two empty sets."""
    size = np.diff(sets.indptr)
    shared = np.asarray(sets[first].multiply(sets[second]).sum(1)).reshape(-1)
    union = size[first] + size[second] - shared
    return np.where(union > 0, 1 - shared / np.maximum(union, 1), 0.0)


def user_volatility(log: EventLog, train_rows: torch.Tensor, sets: sp.csr_matrix) -> np.ndarray:
    """The volatility of every user [users]; NaN with fewer than two training clicks on items with a category.

    Clicks are neighbors in the order of the log, which is by time and inside one timestamp by item token.

    train_rows: [R] row ids; sets: of :func:`item_categories`.
    """
    position = np.sort(log.position[train_rows].numpy())
    item, user = log.item.numpy()[position], log.user.numpy()[position]
    counts = (log.label.numpy()[position] == 1) & (np.diff(sets.indptr)[item] > 0)
    item, user = item[counts], user[counts]
    pair = np.flatnonzero(user[1:] == user[:-1])
    distance = jaccard_distances(sets, item[pair], item[pair + 1])
    n_users = len(log.offsets) - 1
    pairs = np.bincount(user[pair], minlength=n_users)
    total = np.bincount(user[pair], weights=distance, minlength=n_users)
    return np.where(pairs > 0, total / np.maximum(pairs, 1), np.nan)
