"""The encoder T5 reads a click history with (Eq. 4 and 5), on histories that rows share."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from recbole_nif.data.fields import HISTORY_CUT, HISTORY_ITEM, HISTORY_LABEL, HISTORY_OF, HISTORY_WINDOW
from recbole_nif.model.genci.t5_layers import encode
from recbole_nif.model.layers.embedding import lookup

N_LABELS = 3  # values of the label history: padding, 0 and 1


class Histories(NamedTuple):
    """H distinct histories of B rows, prefixes of U <= H windows of n items; see ``data/fields.py``."""

    item: Tensor  # [U, n] int64
    label: Tensor | None  # [U, n] int64
    window: Tensor  # [H] int64, the window of each history
    cut: Tensor  # [H] int64, how many of its items it holds
    of_row: Tensor  # [B] int64, the history of each row

    @classmethod
    def of(cls, batch) -> "Histories":
        label = batch[HISTORY_LABEL] if HISTORY_LABEL in batch else None  # noqa: SIM401 (no dict)
        return cls(batch[HISTORY_ITEM], label, batch[HISTORY_WINDOW], batch[HISTORY_CUT], batch[HISTORY_OF])

    def first_rows(self) -> Tensor:
        """The first row with each history, [H] int64."""
        row = torch.arange(len(self.of_row), device=self.of_row.device)
        return torch.zeros_like(self.cut).scatter_reduce(0, self.of_row, row, "amin", include_self=False)


class EncodedHistories(NamedTuple):
    """H_enc of H histories; position 0 of every window stands for having no history at all."""

    states: Tensor  # [U, 1 + P, d]
    visible: Tensor  # [H, 1 + P] bool, which of them a history reads: at least one
    last: Tensor  # [H, d], H_LTI (Eq. 5): the last position of the history

    def detached(self) -> "EncodedHistories":
        """The same without gradients."""
        return EncodedHistories(self.states.detach(), self.visible, self.last.detach())


class HistoryEncoder(nn.Module):
    """Semantic IDs of the past items -> T5's encoder stack.

    An item without a semantic ID reads as token 0 at all levels. An empty history, which the paper does not
    treat, is one learned vector; histories with items do not see it.

    Args:
        tokens: [n_items, N] int64, tokens of every item.
        table: token embedding, shared with the decoder.
        stack: ``T5Stack`` of transformers, an encoder.
        encoder_input: "tokens" gives an item N positions (the paper), "items" one, the sum of its tokens'
            embeddings (ours: N times shorter sequences).
        causal: whether a position sees earlier ones only, so that one pass serves every prefix of a window
            (``encode: packed``, ours); else a window is one whole history, read in both directions.
        with_labels: adds a learned vector of its label to every past item (``history: all_with_label``).
    """

    def __init__(
        self,
        *,
        tokens: Tensor,
        table: nn.Embedding,
        stack: nn.Module,
        encoder_input: Literal["tokens", "items"],
        causal: bool,
        with_labels: bool,
    ):
        super().__init__()
        width = table.embedding_dim
        self.table, self.stack, self.causal = table, stack, causal
        self.register_buffer("tokens", tokens, persistent=False)
        self.positions_per_item = tokens.shape[1] if encoder_input == "tokens" else 1
        self.no_history = nn.Parameter(0.1 * torch.randn(width))
        self.label = nn.Embedding(N_LABELS, width, padding_idx=0) if with_labels else None

    def forward(self, histories: Histories) -> EncodedHistories:
        """One pass over all windows; P = ``positions_per_item`` * n."""
        length = histories.cut * self.positions_per_item  # [H]
        inputs = self.embed(histories)  # [U, P, d]
        place = torch.arange(1 + inputs.shape[1], device=length.device)
        mask = self._causal_mask(place[1:]) if self.causal else _padding_mask(length, place[1:])
        states = encode(self.stack, inputs, mask)
        states = torch.cat([self.no_history.expand(states.shape[0], 1, -1), states], dim=1)  # [U, 1 + P, d]
        empty = (length == 0).unsqueeze(1)
        visible = (place <= length.unsqueeze(1)) & ((place > 0) | empty)  # [H, 1 + P]
        return EncodedHistories(states, visible, last=states[histories.window, length])

    def embed(self, histories: Histories) -> Tensor:
        """The positions of all windows before the encoder, [U, P, d]."""
        tokens = self.tokens[histories.item]  # [U, n, N]
        vectors = lookup(self.table.weight, tokens)  # [U, n, N, d]
        if self.positions_per_item == 1:
            vectors = vectors.sum(2, keepdim=True)
        if self.label is not None:
            vectors = vectors + lookup(self.label.weight, histories.label).unsqueeze(2)
        return vectors.flatten(1, 2)

    @staticmethod
    def _causal_mask(place: Tensor) -> Tensor:
        """[1, 1, P, P] bool: padding lies behind everything that is read and needs no mask of its own."""
        return (place <= place.unsqueeze(1))[None, None]


def _padding_mask(length: Tensor, place: Tensor) -> Tensor:
    """[U, 1, 1, P] bool of windows that are a history each; an empty one sees its first, unread position."""
    return (place <= length.clamp_min(1).unsqueeze(1))[:, None, None]
