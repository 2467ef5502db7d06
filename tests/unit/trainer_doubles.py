"""A stage and a generator that are small enough to follow by hand."""

import torch
import torch.nn.functional as F
from recbole.data.interaction import Interaction
from torch import nn

from recbole_nif.data.fields import (
    CUT_MASK,
    FLOW,
    MOVELINE_CUT,
    MOVELINE_ITEM,
    MOVELINE_ROW,
    TARGET_ITEM,
    TARGET_MASK,
)
from recbole_nif.model.base import CTRModel
from recbole_nif.trainer.stages import Settings, Stage
from tests.unit.doubles import FakeConfig


class StageConfig(FakeConfig):
    def resolved(self):
        return dict(self)


def stage_config(**overrides) -> StageConfig:
    return StageConfig(
        {"device": torch.device("cpu"), "model": "Tiny", "single_spec": True, "learner": "sgd"} | overrides
    )


class ScriptedStage(Stage):
    """Fits one weight to 1 by gradient descent; validation scores are given in advance, one per epoch."""

    name = "scripted"

    def __init__(self, scores, *, epochs=None, patience=1, metric="auc", rate=0.25, target=1.0, eval_step=1):
        self.module = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.module.weight)
        self.scores = iter(scores)
        self.validates = bool(scores)
        self.target = target
        self.settings = Settings(
            epochs=len(scores) if epochs is None else epochs,
            learning_rate=rate,
            weight_decay=0.0,
            stopping_step=patience,
            eval_step=eval_step,
            valid_metric=metric,
        )
        self.seen_epochs = []
        self.weights = []  # after each evaluated epoch

    def __len__(self):
        return 2

    def rows(self):
        return 6

    def batches(self, epoch, first=0):
        self.seen_epochs.append(epoch)
        return [Interaction({"x": torch.ones(3, 1)}) for _ in range(first, 2)]

    def loss_terms(self, batch):
        error = self.module(batch["x"]).mean() - self.target
        return {"fit": error.square(), "extra": 0.0 * error}

    def evaluate(self):
        self.weights.append(self.module.weight.item())
        return {"auc": next(self.scores), "logloss": 0.5}


class ItemGenerator(nn.Module):
    """A generator whose flow is one learned vector per last visible item, repeated K times."""

    def __init__(self, n_items: int, width: int = 8, flow_len: int = 2):
        super().__init__()
        self.vectors = nn.Embedding(n_items, width)  # the flow's space
        self.next = nn.Embedding(n_items, width)
        self.flow_len = flow_len

    def reset_sequence_parameters(self):
        self.next.reset_parameters()
        self.vectors.requires_grad_(False)

    def item_targets(self, items, scenes):
        return F.normalize(self.vectors(items), dim=-1)

    def flow(self, batch):
        cut = batch[MOVELINE_CUT]
        last = batch[MOVELINE_ITEM][batch[MOVELINE_ROW], (cut - 1).clamp(min=0)] * (cut > 0)
        return self.next(last).unsqueeze(1).expand(-1, self.flow_len, -1)

    def loss_terms(self, batch):
        chosen = batch[CUT_MASK] & batch[TARGET_MASK][..., 0]
        flow = F.normalize(self.next(batch[MOVELINE_ITEM][chosen]), dim=-1)
        scores = flow @ F.normalize(self.vectors.weight, dim=-1).T / 0.1
        return {"nce": F.cross_entropy(scores, batch[TARGET_ITEM][chosen][:, 0])}


class TwoStage(CTRModel):
    """A logit from the candidate and its match with the flow of a frozen generator."""

    needs_moveline = True
    stages = ("pretrain", "finetune")

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.generator = ItemGenerator(dataset.item_num, flow_len=config["flow_len"])
        self.bias = nn.Embedding(dataset.item_num, 1)
        self.flows_seen = []  # whether a batch brought its flow along

    def start_finetune(self):
        self.generator.requires_grad_(False).eval()

    def forward(self, batch):
        self.flows_seen.append(FLOW in batch)
        with torch.no_grad():
            flow = batch[FLOW].float() if FLOW in batch else self.generator.flow(batch)
            match = flow[:, 0] @ self.generator.vectors.weight.mean(0)
        return self.bias(batch[self.item_field]).squeeze(-1) + match
