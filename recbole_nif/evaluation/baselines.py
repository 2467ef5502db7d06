"""Baselines that need no model: click rates of item and user, popularity, the item after the last click.

They answer what a learned number is worth: a click model must beat the item rate, a generated flow must
beat popularity and the first-order Markov chain.
"""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_nif.data.event_log import EventLog

PRIOR_ROWS = 10.0  # a rate is shrunk as if there were that many more rows of the overall rate


def item_rates(log: EventLog, train_rows: Tensor, n_items: int, prior_rows: float = PRIOR_ROWS) -> Tensor:
    """Click rate of every item in training, shrunk to the overall rate, [n_items] float64."""
    items, clicked = _item(log, train_rows), _clicked(log, train_rows)
    rows = torch.bincount(items, minlength=n_items)
    clicks = torch.bincount(items, weights=clicked.double(), minlength=n_items)
    return (clicks + prior_rows * clicked.double().mean()) / (rows + prior_rows)


def history_rates(
    log: EventLog, train_rows: Tensor, rows: Tensor, last: int | None = None, prior_rows: float = PRIOR_ROWS
) -> Tensor:
    """Click rate of the labelled events that each row may see, shrunk to training's rate, [N] float64.

    last: counts only that many events, the latest ones.
    """
    begin, end = log.visible(rows)
    label = log.label
    if log.samples is not None:
        begin, end = log.samples.range(begin, end)
        label = label[log.samples.positions.long()]
    if last is not None:
        begin = torch.maximum(begin, end - last)
    before = torch.cat([torch.zeros(1, dtype=torch.int64), label.long().cumsum(0)])
    prior = _clicked(log, train_rows).double().mean()
    return (before[end] - before[begin] + prior_rows * prior) / (end - begin + prior_rows)


def popularity_recall(train_item_count: Tensor, targets: Tensor, ks: tuple[int, ...]) -> dict[int, float]:
    """Share of ``targets`` [N] among the k items with the most training clicks.

    train_item_count: [n_items] int64; ties count against the target.
    """
    # the number of items at least as popular, by binary search in the sorted counts
    ordered = train_item_count[1:].sort().values
    rank = len(ordered) - torch.searchsorted(ordered, train_item_count[targets])  # 1 = most popular
    return {k: (rank <= k).double().mean().item() for k in ks}


def last_click_recall(
    log: EventLog, train_rows: Tensor, rows: Tensor, train_item_count: Tensor, ks: tuple[int, ...]
) -> dict[int, float]:
    """Recall@k of the first-order Markov chain on clicks, for clicked rows.

    The k most frequent next clicks, in training, after the last click that a row may see; items never
    seen after it follow by popularity.

    Args:
        train_rows: [R] row ids of the training split.
        rows: [N] row ids of clicked rows; each row's own item is the target.
    """
    clicked = train_rows[_clicked(log, train_rows)]
    n_items = len(train_item_count)
    pairs, counts = (_last_click(log, clicked) * n_items + _item(log, clicked)).unique(return_counts=True)
    # below one count: orders what never followed, and breaks ties between what did
    popularity = train_item_count.double() / (train_item_count.max() + 1)

    last, target = _last_click(log, rows), _item(log, rows)
    rank = torch.empty_like(target)
    for part in torch.arange(len(rows)).split(max(1, (1 << 22) // n_items)):
        first, end = torch.searchsorted(pairs, torch.stack([last[part], last[part] + 1]) * n_items)
        row = torch.repeat_interleave(torch.arange(len(part)), end - first)
        follower = first[row] + torch.arange(len(row)) - ((end - first).cumsum(0) - (end - first))[row]
        score = popularity.repeat(len(part), 1)  # [N', n_items]
        score[row, pairs[follower] % n_items] += counts[follower]
        rank[part] = (score[:, 1:] >= score.gather(1, target[part, None])).sum(
            1
        )  # 1 = best; ties count against
    return {k: (rank <= k).double().mean().item() for k in ks}


def item_knn_recall(
    log: EventLog, train_rows: Tensor, rows: Tensor, train_item_count: Tensor, ks: tuple[int, ...]
) -> dict[int, float]:
    """Recall@k of item-kNN for clicked rows: an item's cosines with all clicks that a row sees, summed.

    The cosine of two items is that of the users who clicked them in training, the number of common users over
    the root of the product of their own numbers; an item with itself counts 0, ties go by popularity.

    Args: as :func:`last_click_recall`.
    """
    clicked, n_items = train_rows[_clicked(log, train_rows)], len(train_item_count)
    users = log.user[log.position[clicked].long()].numpy()
    by_user = _incidence(users, _item(log, clicked).numpy(), (int(log.user.max()) + 1, n_items))
    norm = np.sqrt(np.maximum(np.asarray(by_user.sum(0)).ravel(), 1))
    cosine = by_user.T @ by_user  # [n_items, n_items]
    cosine.setdiag(0)
    cosine = sp.diags(1 / norm) @ cosine @ sp.diags(1 / norm)
    target, rank = _item(log, rows), torch.empty(len(rows), dtype=torch.long)
    for part in torch.arange(len(rows)).split(max(1, (1 << 22) // n_items)):
        first, end = log.clicks.range(*log.visible(rows[part]))
        row = torch.repeat_interleave(torch.arange(len(part)), end - first)
        seen = first[row] + torch.arange(len(row)) - ((end - first).cumsum(0) - (end - first))[row]
        items = log.item[log.clicks.positions[seen].long()].numpy()
        profile = _incidence(row.numpy(), items, (len(part), n_items))
        score = torch.from_numpy((profile @ cosine).toarray())  # [N', n_items]
        rank[part] = rank_of(score, target[part], train_item_count)
    return {k: (rank <= k).double().mean().item() for k in ks}


def rank_of(score: Tensor, target: Tensor, popularity: Tensor) -> Tensor:
    """Ranks of items by their scores, 1 = best; equal scores go by popularity, what is left against them.

    Args:
        score: [N, n_items]; an item of score -inf is not ranked: n_items + 1.
        target: [N] item ids; popularity: [n_items].
    """
    own, known = score.gather(1, target[:, None]), popularity[target][:, None]
    ahead = (score > own) | ((score == own) & (popularity >= known))
    return torch.where(own[:, 0] > float("-inf"), ahead[:, 1:].sum(1), score.shape[1] + 1)


def _incidence(row: np.ndarray, column: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """A matrix with 1 wherever (row, column) occurs."""
    matrix = sp.coo_matrix((np.ones(len(row)), (row, column)), shape=shape).tocsr()
    matrix.data[:] = 1
    return matrix


def _last_click(log: EventLog, rows: Tensor) -> Tensor:
    """Item of the last click that each row may see, 0 if it sees none, [N] int64."""
    first, end = log.clicks.range(*log.visible(rows))
    position = log.clicks.positions[(end - 1).clamp(min=0)].long()
    return log.item[position].long() * (end > first)


def _clicked(log: EventLog, rows: Tensor) -> Tensor:
    return log.label[log.position[rows].long()] == 1


def _item(log: EventLog, rows: Tensor) -> Tensor:
    return log.item[log.position[rows].long()].long()
