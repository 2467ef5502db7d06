"""Scores every row of a loader and computes AUC, LogLoss and GAUC on them, in one pass."""

import math
from collections import OrderedDict
from dataclasses import asdict, dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from tqdm import tqdm

from recbole_nif.data.fields import ROW_ID
from recbole_nif.device import to_device
from recbole_nif.errors import Diverged
from recbole_nif.evaluation.baselines import history_rates, item_rates
from recbole_nif.evaluation.metrics import GAUCResult, auc, gauc, logloss
from recbole_nif.evaluation.scored_rows import ScoredRows

RECENT = 8  # events of the recent rate


@dataclass(frozen=True)
class Evaluation:
    """The three metrics of a model on the rows of one split, unrounded; NaN where undefined."""

    auc: float
    logloss: float
    gauc: GAUCResult

    @classmethod
    def of(
        cls, users: np.ndarray, labels: np.ndarray, scores: np.ndarray, weight: str | None
    ) -> "Evaluation":
        """The metrics of predicted probabilities; all [N]. ``weight`` as in ``gauc``, None = impressions."""
        return cls(
            auc(labels, scores), logloss(labels, scores), gauc(users, labels, scores, weight or "impressions")
        )

    def metrics(self) -> OrderedDict[str, float]:
        """What RecBole's ``evaluate`` returns: metric name in lower case -> value."""
        return OrderedDict(auc=self.auc, logloss=self.logloss, gauc=self.gauc.value)

    def record(self) -> dict:
        """For result.json: the metrics, and what GAUC covers."""
        covered = {f"gauc_{name}": value for name, value in asdict(self.gauc).items() if name != "value"}
        reason = "no user has both clicked and unclicked rows" if math.isnan(self.gauc.value) else None
        return {**self.metrics(), **covered, "gauc_undefined": reason}


def evaluate_model(model: nn.Module, loader, config, show_progress: bool = False) -> Evaluation:
    """AUC, LogLoss and GAUC (``gauc_weight``) of ``model`` on all rows of ``loader``; see ``score_rows``."""
    return evaluate_rows(score_rows(model, loader, config, show_progress), config)


def evaluate_rows(rows: ScoredRows, config) -> Evaluation:
    """AUC, LogLoss and GAUC (``gauc_weight``) of scored rows."""
    return Evaluation.of(rows.user, rows.label, rows.score, config["gauc_weight"])


def evaluate_item_rate(train, view, config) -> Evaluation:
    """The trivial baseline on the rows of ``view``: every item's click rate in ``train``."""
    rate = item_rates(train.event_log, train.train_rows, train.item_num)
    rows = view.inter_feat
    users, labels, items = rows[view.uid_field], rows[view.label_field], rows[view.iid_field]
    return Evaluation.of(users.numpy(), labels.numpy(), rate[items].numpy(), config["gauc_weight"])


def evaluate_item_user_recent(train, valid, view, config) -> Evaluation:
    """The stronger trivial baseline: rates of the item, of the user and of its last ``RECENT`` events.

    A logistic regression on their log odds combines them. It is fitted on the rows of ``valid``, for a
    training row's own label is part of its item's rate; on those of ``train`` where ``valid`` has one class.
    """
    label = config["LABEL_FIELD"]
    fitted = valid if len(valid.inter_feat[label].unique()) == 2 else train
    regression = LogisticRegression().fit(_log_odds(train, fitted), fitted.inter_feat[label].numpy())
    rows = view.inter_feat
    scores = regression.predict_proba(_log_odds(train, view))[:, 1]
    return Evaluation.of(rows[view.uid_field].numpy(), rows[label].numpy(), scores, config["gauc_weight"])


def _log_odds(train, view) -> np.ndarray:
    """Log odds of a click by item, user and recent rate, [N, 3]."""
    log, rows = view.event_log, view.inter_feat[ROW_ID]
    item = item_rates(log, train.train_rows, train.item_num)[view.inter_feat[view.iid_field]]
    user = history_rates(log, train.train_rows, rows)
    recent = history_rates(log, train.train_rows, rows, last=RECENT)
    return torch.logit(torch.stack([item, user, recent], dim=1), eps=1e-6).numpy()


@torch.inference_mode()
def score_rows(model: nn.Module, loader, config, show_progress: bool = False) -> ScoredRows:
    """The predicted probabilities of all rows of ``loader``.

    In several processes every one scores its share and all get all rows. Probabilities are in full precision
    also when training uses AMP: half precision would tie many scores.

    Raises:
        Diverged: the model predicts NaN.
    """
    model.eval()
    device = config["device"]
    row_ids, users, labels, scores = [], [], [], []
    for batch in tqdm(
        loader, desc="evaluate", unit="batch", leave=False, disable=None if show_progress else True
    ):
        row_ids.append(batch[ROW_ID])
        users.append(batch[config["USER_ID_FIELD"]])
        labels.append(batch[config["LABEL_FIELD"]])
        scores.append(model.predict(to_device(batch, device)).reshape(-1))
    if not scores:  # a process may have no row, and still takes part in what all do together
        none = torch.zeros(0, dtype=torch.long)
        row_ids, users, labels, scores = [none], [none], [none.float()], [none.float().to(device)]
    columns = (_gathered(torch.cat(parts), device) for parts in (row_ids, users, labels, scores))
    rows = ScoredRows.ordered(*(column.cpu().numpy() for column in columns))
    if np.isnan(rows.score).any():
        raise Diverged(
            f"{type(model).__name__} predicts NaN for {int(np.isnan(rows.score).sum())} rows: train it with "
            "a lower learning rate or clip_grad_norm, or check the numerical fields of the data."
        )
    return rows


def _gathered(values: Tensor, device: torch.device) -> Tensor:
    """``values`` [N_r] of every process in one tensor; the lengths may differ."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    values = values.to(device)
    sizes = [
        torch.zeros(1, dtype=torch.long, device=device) for _ in range(torch.distributed.get_world_size())
    ]
    torch.distributed.all_gather(sizes, torch.tensor([len(values)], device=device))
    longest = int(torch.cat(sizes).max())
    padded = torch.cat([values, values.new_zeros(longest - len(values))])
    parts = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, torch.cat(sizes).tolist(), strict=True)])
