"""Generated candidates against the next click: recall@k beside rankings that need no model."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from recbole_nif.data.fields import ROW_ID
from recbole_nif.device import to_device
from recbole_nif.evaluation.baselines import (
    item_knn_recall,
    last_click_recall,
    popularity_recall,
    rank_of,
)
from recbole_nif.model.base import CTRModel, generates_nothing

KS = (10, 50, 100, 500)
MAX_ROWS, MAX_SCORES = 64, 1 << 22  # rows, and rows x items, at once; a beam search holds a multiple of it


def clicked_rows(dataset, limit: int, seed: int) -> Tensor:
    """Row ids of a view's clicked rows, in the order of the log; of more than ``limit`` a seeded sample."""
    log, rows = dataset.event_log, dataset.inter_feat[ROW_ID]
    rows = rows[log.label[log.position[rows].long()] == 1]
    chosen = np.random.default_rng([seed, 7]).permutation(len(rows))[:limit]
    rows = rows[torch.from_numpy(chosen)]
    return rows[log.position[rows].argsort()]  # neighbors share windows


def baseline_recalls(dataset, rows: Tensor) -> dict[str, dict[int, float]]:
    """Recall@k of rankings by name; rows: [N] row ids of clicked rows."""
    log, count = dataset.event_log, dataset.train_item_count
    target = log.item[log.position[rows].long()].long()
    return {
        "popularity": popularity_recall(count, target, KS),
        "item-kNN": item_knn_recall(log, dataset.train_rows, rows, count, KS),
        "Markov (last click)": last_click_recall(log, dataset.train_rows, rows, count, KS),
    }


@torch.inference_mode()
def candidate_recall(
    model: CTRModel, device: torch.device, dataset, rows: Tensor, told: Callable[[int], None] = lambda n: None
) -> dict[int, float]:
    """Recall@k of the items that are nearest to what the model generates, for clicked rows.

    Every item of the data can be a candidate; equal scores go by training clicks.

    Args:
        rows: [N] row ids; each row's own item is the target.
        told: hears of the number of rows done.

    Raises:
        UserError: the model generates no candidates.
    """
    log, count = dataset.event_log, dataset.train_item_count.to(device)
    target = log.item[log.position[rows].long()].long().to(device)
    ranks = []
    for part in torch.arange(len(rows)).split(max(1, min(MAX_ROWS, MAX_SCORES // dataset.item_num))):
        batch = to_device(dataset.read(rows[part]), device)
        scores = model.candidate_scores(batch) if isinstance(model, CTRModel) else None
        if scores is None:
            raise generates_nothing(model)
        ranks.append(rank_of(scores, target[part], count))
        told(len(part))
    rank = torch.cat(ranks)
    return {k: (rank <= k).double().mean().item() for k in KS}
