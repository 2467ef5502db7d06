"""NIFDIN: the Deep Interest Network as its paper has it, on the rows and features of this project."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recbole_nif.model.base import UserState
from recbole_nif.model.click_history import ClickHistoryModel
from recbole_nif.model.explanation import Attention, Explanation
from recbole_nif.model.layers.cross import CrossNetwork
from recbole_nif.model.layers.embedding import initialize
from recbole_nif.model.layers.mlp import MLP
from recbole_nif.model.layers.target_attention import TargetAttention


@dataclass(frozen=True)
class DINState(UserState):
    """A user as DIN sees one: features and the embedded history, not yet weighted by any target."""

    history: Tensor  # [S, L, item_dim]
    mask: Tensor  # [S, L] bool, True where there is an item


class NIFDIN(ClickHistoryModel):
    """Zhou et al., "Deep Interest Network for Click-Through Rate Prediction", KDD 2018.

        v_U = sum_j a_j k_j ,   a_j = MLP([e_v ; k_j ; e_v - k_j ; e_v * k_j])
        logit = MLP([v_U ; e_v ; v_U * e_v ; user features ; context features])

    v_U * e_v is RecBole's and the authors' code; the rest is the paper. An empty history gives v_U = 0.
    With ``cross_layers`` the inputs of the last MLP pass a cross network first, which DIN does not have.
    """

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.attention = TargetAttention(
            self.item_dim,
            config["attention_mlp_hidden_size"],
            activation=config["attention_activation"],
            softmax=config["attention_softmax"],
        )
        inputs = 3 * self.item_dim + self.user_dim + self.context_dim
        self.cross = CrossNetwork(inputs, config["cross_layers"], config["cross_rank"])
        self.mlp = MLP(
            inputs,
            config["mlp_hidden_size"],
            activation=config["mlp_activation"],
            dropout=config["dropout_prob"],
            batch_norm=config["mlp_batch_norm"],
            output_size=1,
        )
        self.apply(initialize)

    def encode_user(self, batch) -> DINState:
        """Embeds the features and the history of each row's user."""
        items, mask = self.history_items(batch)
        return DINState(user=self.embed_user(batch), history=self.history_events(batch, items), mask=mask)

    def score(self, state: DINState, candidates, rows: Tensor | None = None) -> Tensor:
        """Logits [N] of the items and contexts in ``candidates``; ``rows`` [N] names the state of each."""
        target = self.embed_items(candidates[self.item_field])  # [N, item_dim]
        interest = self.attention(target, state.history, state.mask, rows)  # [N, item_dim]
        user = state.user if rows is None else state.user.index_select(0, rows)
        features = [interest, target, interest * target, user, self.embed_context(candidates)]
        return self.mlp(self.cross(torch.cat(features, dim=-1))).squeeze(-1)

    def explain(self, batch) -> Explanation:
        """a_j of the row's own item."""
        state, target = self.encode_user(batch), self.embed_items(batch[self.item_field])
        weight = self.attention.weights(target, state.history, state.mask)
        return Explanation((Attention("attention", "history", weight, state.mask.sum(1)),))
