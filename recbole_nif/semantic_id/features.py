"""Item vectors without a language model (``text_encoder: features``): side features and who clicked what.

models notes, 3.5: the published method needs a text encoder; this is a substitution, and called one in the
log and in result.json. Only rows of the training split are looked at.
"""

from __future__ import annotations

import numpy as np
from recbole.utils import FeatureType
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from recbole_nif.errors import UserError

FEATURES = "features"
LABEL = "features (no language model: side features and training co-occurrence)"
MOST_DIMENSIONS = 64  # of each of the two parts
SMALLEST = 1e-12


def feature_vectors(dataset, seed: int) -> np.ndarray:
    """Side features and the SVD of the co-occurrence of clicked items, side by side: [n_items, d] float32.

    Both parts have rows of length 1, or 0 where nothing is known, so that they weigh the same.

    Raises:
        UserError: items have no features and training no clicks.
    """
    parts = [_side_features(dataset, seed), _co_occurrence(dataset, seed)]
    vectors = np.concatenate([_unit_rows(part) for part in parts], axis=1).astype(np.float32)
    if not vectors.any():
        raise UserError("text_encoder: features finds no item features and no training clicks: add some.")
    return vectors


def _side_features(dataset, seed: int) -> np.ndarray:
    """Item features but the id: tokens as indicators, numbers standardized; [n_items, d]."""
    columns = []
    for name in dataset.item_feat.columns if dataset.item_feat is not None else ():
        if name != dataset.iid_field:
            columns.append(_indicators(dataset, name))
    if not columns:
        return np.zeros((dataset.item_num, 0))
    together = sparse.hstack(columns, format="csr")
    if together.shape[1] <= MOST_DIMENSIONS:
        return together.toarray()
    left, scale, _ = randomized_svd(together, MOST_DIMENSIONS, random_state=seed)
    return left * scale


def _indicators(dataset, name: str) -> sparse.csr_matrix:
    """One item feature as columns, rows of length 1; padding tokens and the padding item are zero."""
    values = dataset.item_feat[name].numpy()
    if dataset.field2type[name] in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ):
        values = values.reshape(len(values), -1).astype(float)
        spread = values[1:].std(0)
        scaled = (values - values[1:].mean(0)) / np.where(spread > 0, spread, 1)
        scaled[0] = 0
        return sparse.csr_matrix(scaled / np.sqrt(scaled.shape[1]))
    values = values.reshape(len(values), -1)  # [n_items, length]
    row = np.repeat(np.arange(len(values)), values.shape[1])
    seen = values.reshape(-1) > 0
    ones = np.ones(int(seen.sum()))
    matrix = sparse.csr_matrix(
        (ones, (row[seen], values.reshape(-1)[seen])), (len(values), dataset.num(name))
    )
    matrix.data[:] = 1  # a token that a list holds twice
    length = np.sqrt(np.asarray(matrix.sum(1)).ravel())
    return (sparse.diags(1 / np.maximum(length, 1)) @ matrix).tocsr()


def _co_occurrence(dataset, seed: int) -> np.ndarray:
    """Item vectors V S of the normalized click matrix A = D_u^-1/2 C D_i^-1/2 = U S V^T; [n_items, k].

    (V S)(V S)^T approximates A^T A, how often two items were clicked by one user, both taken relative to how
    much that user clicks and how popular the items are.
    """
    log = dataset.event_log
    position = log.position[dataset.train_rows].long()
    position = position[log.label[position] == 1]
    user, item = log.user[position].numpy(), log.item[position].numpy()
    shape = (dataset.user_num, dataset.item_num)
    clicks = sparse.csr_matrix((np.ones(len(user)), (user, item)), shape)
    clicks.data[:] = 1  # a user who clicked an item twice
    by_user, by_item = (np.asarray(clicks.sum(axis)).ravel() for axis in (1, 0))
    scaled = sparse.diags(_root_of_inverse(by_user)) @ clicks @ sparse.diags(_root_of_inverse(by_item))
    dimensions = min(MOST_DIMENSIONS, min(shape) - 1)
    _, scale, right = randomized_svd(scaled, dimensions, random_state=seed)
    return right.T * scale


def _root_of_inverse(count: np.ndarray) -> np.ndarray:
    return np.where(count > 0, 1 / np.sqrt(np.maximum(count, 1)), 0)


def _unit_rows(values: np.ndarray) -> np.ndarray:
    """Rows of length 1; what is no more than a rounding error becomes 0."""
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.where(length > SMALLEST, values / np.maximum(length, SMALLEST), 0)
