"""NIFDIEN: the Deep Interest Evolution Network, on the rows and features of this project."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_nif.data.fields import (
    HISTORY_CUT,
    HISTORY_ITEM,
    HISTORY_LABEL,
    HISTORY_OF,
    HISTORY_SCENE,
    HISTORY_WINDOW,
)
from recbole_nif.errors import UserError
from recbole_nif.model.base import UserState
from recbole_nif.model.click_history import ClickHistoryModel
from recbole_nif.model.explanation import Attention, Explanation
from recbole_nif.model.layers.embedding import initialize, pick
from recbole_nif.model.layers.mlp import MLP
from recbole_nif.model.layers.recurrent import GRU, AttentionalGRU
from recbole_nif.model.layers.row_groups import RowGroups
from recbole_nif.model.layers.target_attention import TargetAttention, masked_softmax, positions_of

CLICKED = 2  # in the label history: 0 is padding


@dataclass(frozen=True)
class DIENState(UserState):
    """A user as DIEN sees one: features and the interest after every event of the history."""

    interests: Tensor  # [S, L, hidden_size]; encode packed: [U, L, hidden_size], of all windows
    mask: Tensor  # [S, L] bool, True where there is an event of the state's own history
    window: Tensor | None = None  # encode packed: [S] int64, the window that each state reads

    def select(self, rows: Tensor | None) -> "DIENState":
        if rows is None or self.window is None:
            return super().select(rows)
        user, mask, window = (t.index_select(0, rows) for t in (self.user, self.mask, self.window))
        return replace(self, user=user, mask=mask, window=window)


class NIFDIEN(ClickHistoryModel):
    """Zhou et al., "Deep Interest Evolution Network for Click-Through Rate Prediction", AAAI 2019.

        h_t = GRU(k_1 .. k_t)                                                 interest extractor
        a_t = softmax_t(h_t . W e_v)   or, by config,   softmax_t(MLP(h_t, W e_v))
        h'_T = the last state of AUGRU (AGRU, AIGRU) over (h_t, a_t)          interest evolution
        logit = MLP([h'_T ; e_v ; h'_T * W e_v ; user features ; context features])
        loss = cross-entropy + alpha * auxiliary loss (:class:`NextItemLoss`)

    h'_T * W e_v is ours, so that NIFDIEN and NIFDIN read out an interest alike. The MLP is the activation
    unit of DIN, as in RecBole and the authors' code. An empty history gives h'_T = 0.

    With ``encode: window`` every row has its own history, as in the paper. With ``packed`` (ours) the
    histories of a user's rows are prefixes of common windows, which begin on a grid: the extractor and the
    auxiliary loss run once per window, and so does what the evolution makes of its inputs alone. An h_t has
    seen the events up to t only, so that no row reads an event behind its own history.
    """

    needs_history_windows = True
    needs_history_labels = {"history": "all"}  # the auxiliary loss predicts clicks, whatever a row reads

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.packed = config["encode"] == "packed"
        self.reads_unclicked = (config["history"] or "clicks") != "clicks"
        if self.packed:
            self.history_field = HISTORY_ITEM
            self.history_label_field = HISTORY_LABEL
            self.history_scene_field = HISTORY_SCENE
        size = config["hidden_size"]
        self.alpha = config["alpha"]
        self.extractor = GRU(self.item_dim, size)
        self.query = nn.Linear(self.item_dim, size, bias=False)
        if config["attention_type"] not in ("bilinear", "mlp"):
            raise UserError(f"attention_type is {config['attention_type']!r}: use bilinear or mlp.")
        self.unit = None
        if config["attention_type"] == "mlp":
            self.unit = TargetAttention(
                size,
                config["attention_mlp_hidden_size"],
                activation=config["attention_activation"],
                softmax=True,
            )
        self.evolution = AttentionalGRU(size, size, config["gru_type"])
        self.mlp = MLP(
            2 * size + self.item_dim + self.user_dim + self.context_dim,
            config["mlp_hidden_size"],
            activation=config["mlp_activation"],
            dropout=config["dropout_prob"],
            batch_norm=config["mlp_batch_norm"],
            output_size=1,
        )
        self.next_item = None
        if self.alpha:
            if dataset.item_num < 3:  # padding and one item
                raise UserError(
                    "NIFDIEN's auxiliary loss compares clicks with other items, but the data have one item: "
                    "set alpha: 0."
                )
            self.next_item = NextItemLoss(size, self.item_dim, config["auxiliary_mlp_hidden_size"] or ())
        self.apply(initialize)

    def encode_user(self, batch) -> DIENState:
        """Embeds the features of each row's user and extracts the interests from the history."""
        return self._extract(batch, *self.history_items(batch))

    def _extract(self, batch, items: Tensor, mask: Tensor) -> DIENState:
        interests = self.extractor(self.history_events(batch, items), mask)  # [B or U, L, hidden_size]
        user, window = self.embed_user(batch), None
        if self.packed:
            window, cut = (batch[name][batch[HISTORY_OF]] for name in (HISTORY_WINDOW, HISTORY_CUT))  # [B]
            mask = torch.arange(mask.shape[1], device=mask.device) < cut.unsqueeze(1)  # [B, L]
        return DIENState(user, interests, mask, window)

    def score(self, state: DIENState, candidates, rows: Tensor | None = None) -> Tensor:
        """Logits [N] of the items and contexts in ``candidates``; ``rows`` [N] names the state of each."""
        state = state.select(rows)
        target = self.embed_items(candidates[self.item_field])  # [N, item_dim]
        query = self.query(target)  # [N, hidden_size]
        attention = self.attention(query, state)  # [N, L]
        interest = self.evolution(state.interests, attention, state.mask, state.window)  # [N, hidden_size]
        features = [interest, target, interest * query, state.user, self.embed_context(candidates)]
        return self.mlp(torch.cat(features, dim=-1)).squeeze(-1)

    def attention(self, query: Tensor, state: DIENState) -> Tensor:
        """a_t [N, L], which sum to 1 over a history that is not empty."""
        interests, window = state.interests, state.window
        if self.unit is not None:
            own = interests if window is None else interests.index_select(0, window)  # [N, L, hidden_size]
            return self.unit.weights(query, own, state.mask)
        if window is None:
            return masked_softmax(torch.bmm(interests, query.unsqueeze(-1)).squeeze(-1), state.mask)
        groups = RowGroups.of(window, interests.shape[0])
        keys = interests.index_select(0, groups.window).transpose(1, 2)  # [G, hidden_size, L]
        return masked_softmax(groups.collect(torch.bmm(groups.spread(query), keys)), state.mask)

    def explain(self, batch) -> Explanation:
        """a_t of the row's own item."""
        state = self.encode_user(batch)
        weight = self.attention(self.query(self.embed_items(batch[self.item_field])), state)
        return Explanation((Attention("attention", "history", weight, state.mask.sum(1)),))

    def loss_terms(self, batch) -> dict[str, Tensor]:
        """Cross-entropy, and in training the weighted auxiliary loss."""
        if self.next_item is None or not self.training:
            return super().loss_terms(batch)
        items, mask = self.history_items(batch)
        state = self._extract(batch, items, mask)
        followed = F.pad(mask[:, :-1] & mask[:, 1:], (0, 1))  # [B, L]: the next event is one to predict
        if self.reads_unclicked:
            followed[:, :-1] &= batch[self.history_label_field][:, 1:] == CLICKED
        positions, counted = positions_of(followed)
        following = (positions + 1) % mask.numel()  # only a position that does not count reaches the end
        aux = self.next_item(
            pick(state.interests.flatten(0, 1), positions),
            pick(items.flatten(0, 1), following),
            self.embed_items(self.other_items(batch[self.history_field].flatten()[following])),
            counted,
        )
        return {"bce": self.click_loss(self.score(state, batch), batch), "aux": self.alpha * aux}

    def other_items(self, items: Tensor) -> Tensor:
        """For each of ``items`` [P] a uniformly drawn other one, by torch's global generator."""
        drawn = torch.randint_like(items, 1, self.features.n_items - 1)
        return drawn + (drawn >= items)


class NextItemLoss(nn.Module):
    """The auxiliary loss: the interest h_t must tell the next clicked item from a sampled one.

        -mean(log sigmoid(z(h_t, e_{t+1})) + log(1 - sigmoid(z(h_t, e_negative)))) / 2

    In the paper z is the inner product; the matrix in z = h_t . V e lets interests and items have different
    widths. With ``hidden_sizes`` z = MLP([h_t ; e]), as in RecBole and the authors' code. The mean is over
    the pairs of a batch, as there; the paper sums over the pairs of a row.
    """

    def __init__(self, size: int, item_dim: int, hidden_sizes: Sequence[int] = ()):
        super().__init__()
        self.bilinear = nn.Linear(size, item_dim, bias=False) if not hidden_sizes else None
        self.mlp = None
        if hidden_sizes:
            self.mlp = MLP(size + item_dim, hidden_sizes, activation="sigmoid", output_size=1)

    def forward(self, interests: Tensor, clicked: Tensor, other: Tensor, counted: Tensor | None) -> Tensor:
        """Scalar; ``interests`` [P, H], item vectors [P, D], ``counted`` [P] bool or None = all."""
        if self.mlp is not None:
            positive, negative = (
                self.mlp(torch.cat([interests, items], dim=-1)).squeeze(-1) for items in (clicked, other)
            )
        else:
            projected = self.bilinear(interests)
            positive, negative = ((projected * items).sum(-1) for items in (clicked, other))
        losses = (F.softplus(-positive.float()) + F.softplus(negative.float())) / 2  # [P]
        if counted is None:
            return losses.sum() / max(1, len(losses))
        return (losses * counted).sum() / counted.sum().clamp(min=1)
