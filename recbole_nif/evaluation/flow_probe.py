"""What a generated flow knows of the next click: recall beside two baselines, and how much is memorized.

Measured on a fixed, seeded sample of validation rows and on a training sample of equal size. Recall asks
how often the row's own item is among the k items nearest to any vector of the flow, for clicked rows; cold
recall asks it of rows whose item has fewer than ``COLD`` training clicks.
The memorization check (models notes, 2.10) compares cos(f_1, y_v) of clicked and unclicked rows: for a
clicked training row y_v was a training target, so a large gap on training rows alone is memory.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.fields import ROW_ID
from recbole_nif.device import to_device
from recbole_nif.evaluation.baselines import last_click_recall, popularity_recall
from recbole_nif.evaluation.metrics import auc
from recbole_nif.model.layers import sphere

KS = (10, 50)
COLD = 5  # training clicks


@dataclass(frozen=True)
class _Sample:
    rows: Tensor  # [N] row ids
    items: Tensor  # [N] their items
    clicked: Tensor  # [N] bool
    loader: CTRDataLoader


class FlowProbe:
    """Judges a generator on validation rows (``pretrain_eval_rows`` of them; None takes all).

    Args:
        config: RecBole config.
        train, valid: built views of one ``CTRDataset``.
    """

    def __init__(self, config, train, valid):
        self.device = config["device"]
        self.n_items, self.item_scene = train.item_num, train.item_scene
        limit = config["pretrain_eval_rows"] or len(valid)
        rng = np.random.default_rng([config["seed"], 3])
        self.valid = self._sample(config, valid, limit, rng)
        self.train = self._sample(config, train, len(self.valid.rows), rng)
        log, count = train.event_log, train.train_item_count
        self.cold = self.valid.clicked & (count[self.valid.items] < COLD)
        targets = self.valid.items[self.valid.clicked]
        last_click = last_click_recall(log, train.train_rows, self.valid.rows[self.valid.clicked], count, KS)
        self.baselines = {
            **{f"popularity_recall@{k}": value for k, value in popularity_recall(count, targets, KS).items()},
            **{f"last_click_recall@{k}": value for k, value in last_click.items()},
        }

    @staticmethod
    def _sample(config, dataset, size: int, rng: np.random.Generator) -> _Sample:
        rows = dataset.inter_feat[ROW_ID]
        if size < len(rows):
            chosen = np.sort(rng.choice(len(rows), size, replace=False))  # neighbors share moveline windows
            rows = rows[torch.from_numpy(chosen)]
        position = dataset.event_log.position[rows].long()
        return _Sample(
            rows=rows,
            items=dataset.event_log.item[position].long(),
            clicked=dataset.event_log.label[position] == 1,
            loader=loader_of(config, dataset, rows),
        )

    @torch.inference_mode()
    def measure(self, generator: torch.nn.Module) -> dict[str, float]:
        """Of validation and training rows: recall@k and its gap, mean cosines by label, AUC of the flow.

        ``cold_recall@50``: of the clicked validation rows with a cold item, where there are any.
        ``flow_auc`` is that of the generator's own click logit, where it has one, else of the mean cosine.
        ``flow_angle``: degrees between two vectors of a flow, on average; near 0 the K vectors are one.
        """
        generator.eval()
        items = torch.arange(self.n_items, device=self.device)
        vectors = F.normalize(generator.item_targets(items, self.item_scene.to(self.device)).float(), dim=-1)
        result = {}
        for prefix, sample in (("", self.valid), ("train_", self.train)):
            rank, cosine, score, angle = self._rank(generator, sample, vectors)
            result[f"{prefix}flow_auc"] = auc(sample.clicked.numpy().astype(int), score.numpy())
            if not prefix and self.cold.any():
                result["cold_recall@50"] = (rank[self.cold] <= 50).double().mean().item()
            if not prefix and angle is not None:
                result["flow_angle"] = angle.double().mean().item()
            for k in KS:
                result[f"{prefix}recall@{k}"] = (rank[sample.clicked] <= k).double().mean().item()
            result[f"{prefix}cos_clicked"] = cosine[sample.clicked].double().mean().item()
            result[f"{prefix}cos_unclicked"] = cosine[~sample.clicked].double().mean().item()
        for k in KS:
            result[f"gap@{k}"] = result[f"train_recall@{k}"] - result[f"recall@{k}"]
        return result

    def _rank(
        self, generator, sample: _Sample, vectors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Rank of each row's item (1 = nearest; ties count against it), cos(f_1, y_v), score; all [N].

        The last is the flow's mean angle; None for K = 1.
        """
        ranks, cosines, scores, angles = [], [], [], []
        head = getattr(generator, "click", None)
        done = 0
        for batch in sample.loader:
            flow = F.normalize(generator.flow(to_device(batch, self.device)).float(), dim=-1)  # [B, K, d]
            target = sample.items[done : done + len(flow)].to(self.device)
            done += len(flow)
            item = vectors[target].unsqueeze(1)  # [B, 1, d]
            cosine = flow @ item.transpose(1, 2)  # [B, K, 1]
            cosines.append(cosine[:, 0, 0])
            if flow.shape[1] > 1:
                angles.append(mean_angles(flow)[0])
            scores.append((cosine.mean(1) if head is None else head(flow, item)).squeeze(-1))
            chunk = max(1, (1 << 24) // (flow.shape[1] * len(vectors)))
            for part, goal in zip(flow.split(chunk), target.split(chunk), strict=True):
                score = (part @ vectors.T).amax(1)  # [N', n_items]
                ranks.append((score[:, 1:] >= score.gather(1, goal[:, None])).sum(1))
        columns = (torch.cat(parts).cpu() if parts else None for parts in (ranks, cosines, scores, angles))
        return tuple(columns)


def mean_angles(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Degrees between two of K unit vectors, and from one to the next: [N, K, d], K > 1 -> [N] each."""
    first, second = torch.triu_indices(vectors.shape[1], vectors.shape[1], offset=1)
    between = sphere.distance(vectors[:, first], vectors[:, second]).mean(1)
    onward = sphere.distance(vectors[:, :-1], vectors[:, 1:]).mean(1)
    return torch.rad2deg(between), torch.rad2deg(onward)


def loader_of(config, dataset, rows: Tensor) -> CTRDataLoader:
    """Batches of ``rows`` [N] (row ids of ``dataset``) in that order, all of them in every process."""
    view = dataset.copy(Interaction({ROW_ID: rows}))
    return CTRDataLoader(config, view, phase="valid", distributed=False)


def memorizes(metrics: dict[str, float]) -> bool:
    """Whether the label gap of cos(f_1, y_v) on training rows is more than twice that on validation rows."""
    train = metrics["train_cos_clicked"] - metrics["train_cos_unclicked"]
    valid = metrics["cos_clicked"] - metrics["cos_unclicked"]
    return train > 2 * max(valid, 0.0)
