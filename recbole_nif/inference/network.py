"""A trained model in two halves: what it makes of users, once each, and the scores of candidates."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_nif.data import fields
from recbole_nif.device import to_device
from recbole_nif.inference.serving_data import ServingData
from recbole_nif.model.base import CTRModel, generates_nothing
from recbole_nif.model.explanation import Explanation

OF_WINDOWS = {  # fields of a batch that have no entry per row
    fields.HISTORY_ITEM, fields.HISTORY_LABEL, fields.HISTORY_SCENE, fields.HISTORY_WINDOW,
    fields.HISTORY_CUT, fields.MOVELINE_ITEM, fields.MOVELINE_SCENE, fields.MOVELINE_BEHAVIOR,
    fields.MOVELINE_GAP, fields.MOVELINE_START,
}  # fmt: skip


class Network:
    """A model of ours.

    Args:
        model: on ``device``, in evaluation mode.
        config: of the run.
    """

    def __init__(self, model: nn.Module, config):
        self.model, self.device = model, torch.device(config["device"])
        # Evaluation reads flows as they were stored, and scores here are to be the same.
        self.stores_flows = (
            bool(getattr(model, "use_nif", False))
            and bool(getattr(model, "freeze_generator", False))
            and config["flow_cache"] != "none"
        )

    @staticmethod
    def of(model: nn.Module, config) -> Network:
        """The halves of any model."""
        return (Network if isinstance(model, CTRModel) else RowNetwork)(model, config)

    @torch.inference_mode()
    def encode(self, batch: Interaction) -> Any:
        """What is known of the users of ``batch`` [S] before any candidate."""
        batch = to_device(batch, self.device)
        if self.stores_flows:
            batch[fields.FLOW] = self.model.generator.flow(batch).half()
        return self.model.encode_user(batch)

    def candidates(self, data: ServingData, ids: Tensor, context: dict[str, Tensor]) -> Interaction:
        """The rows of items ``ids`` [N] in the contexts [N, ...]."""
        return Interaction(data.item_columns(ids) | context | {data.item_field: ids})

    def explain(self, batch: Interaction) -> Explanation:
        """Why the rows of ``batch`` score as they do."""
        with torch.inference_mode():
            return self.model.explain(to_device(batch, self.device))

    @torch.inference_mode()
    def nearness(self, batch: Interaction) -> Tensor:
        """How near each item is to what the model generates for rows [S]: [S, items], -inf for not at all.

        Raises:
            UserError: the model generates no candidates.
        """
        near = self.model.candidate_scores(to_device(batch, self.device))
        if near is None:
            raise generates_nothing(self.model)
        return near.float().cpu()

    @torch.inference_mode()
    def score(self, state: Any, candidates: Interaction, rows: Tensor) -> Tensor:
        """Probabilities [N] of ``candidates``, on the CPU; ``rows`` [N] names the state of each."""
        candidates = to_device(candidates, self.device)
        logits = self.model.score(state, candidates, rows.to(self.device))
        return logits.float().sigmoid().reshape(-1).cpu()


class RowNetwork(Network):
    """A model that has no halves, such as RecBole's: every candidate is a row with all that its user has.

    Items that were added have no id of their own here, but their features.
    """

    def candidates(self, data: ServingData, ids: Tensor, context: dict[str, Tensor]) -> Interaction:
        return Interaction(data.item_columns(ids) | context)

    def nearness(self, batch: Interaction) -> Tensor:
        raise generates_nothing(self.model)

    @torch.inference_mode()
    def encode(self, batch: Interaction) -> Interaction:
        return to_device(batch, self.device)

    @torch.inference_mode()
    def score(self, state: Interaction, candidates: Interaction, rows: Tensor) -> Tensor:
        rows = rows.to(self.device)
        batch = Interaction({
            name: state[name] if name in OF_WINDOWS else state[name].index_select(0, rows) for name in state
        })  # fmt: skip
        batch.update(to_device(candidates, self.device))
        return self.model.predict(batch).float().reshape(-1).cpu()
