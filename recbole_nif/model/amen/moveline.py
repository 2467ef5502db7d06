"""The moveline encoder: a user's events with scenes as carriers (reconstruction, from abstracts only).

An event is embedded from itself alone, never from the row that reads it, and encoded causally. So one
pass over a shared window serves every row, and every cut of stage 1, that reads a prefix of it.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from recbole_nif.data.fields import (
    GAP_BUCKETS,
    MOVELINE_BEHAVIOR,
    MOVELINE_GAP,
    MOVELINE_ITEM,
    MOVELINE_SCENE,
)
from recbole_nif.model.item_rows import ItemRows
from recbole_nif.model.layers.dropout import Dropout
from recbole_nif.model.layers.embedding import CodedEmbedding, SetEmbedding, add_zeros
from recbole_nif.model.layers.transformer import CausalEncoder


class Windows(NamedTuple):
    """The events of U windows, each field [U, n] int64, 0-padded on the right."""

    item: Tensor
    scene: Tensor  # scene set
    behavior: Tensor
    gap: Tensor  # bucket of the time since the user's previous event

    @classmethod
    def of(cls, batch) -> "Windows":
        return cls(batch[MOVELINE_ITEM], batch[MOVELINE_SCENE], batch[MOVELINE_BEHAVIOR], batch[MOVELINE_GAP])

    def select(self, rows: Tensor) -> "Windows":
        """One window for each of ``rows`` [N]."""
        return Windows(*(field.index_select(0, rows) for field in self))

    def without(self, hidden: Tensor) -> "Windows":
        """The events at ``hidden`` [U, n] bool are emptied; they keep their places."""
        return Windows(*(field.masked_fill(hidden, 0) for field in self))

    def unlabeled(self, events: Tensor) -> "Windows":
        """What the user did with the ``events`` [U, n] bool is unknown."""
        return self._replace(behavior=self.behavior.masked_fill(events, 0))


class EventEmbedding(nn.Module):
    """x_j = W_x [e_S(s_j); e_I(i_j); e_A(a_j)] + q_gap(t_j - t_{j-1})   (reconstruction).

    Args:
        items: the module that embeds items, e_I, width ``embedding_size``.
        n_behaviors: table size, padding 0 included.
        scene_members: [n_sets, S] int64, the elementary scenes of every scene set.
        n_scenes: elementary scenes, padding 0 included.
        embedding_size: width of one table.
        width: model width d.
        with_items: False leaves e_I out of x_j, the strict "scenes as carriers" form of 2411.11502.
    """

    def __init__(
        self,
        *,
        items: nn.Module,
        n_behaviors: int,
        scene_members: Tensor,
        n_scenes: int,
        embedding_size: int,
        width: int,
        with_items: bool,
    ):
        super().__init__()
        self.with_items = with_items
        self.item = items
        self.scene = SetEmbedding(members=scene_members, n_elements=n_scenes, embedding_size=embedding_size)
        self.behavior = nn.Embedding(n_behaviors, embedding_size, padding_idx=0)
        self.gap = nn.Embedding(GAP_BUCKETS, width)
        self.project = nn.Linear((3 if with_items else 2) * embedding_size, width)

    def forward(self, windows: Windows) -> Tensor:
        """-> [U, n, d]"""
        parts = [self.scene(windows.scene), self.behavior(windows.behavior)]
        if self.with_items:
            parts.append(self.item(windows.item))
        return self.project(torch.cat(parts, dim=-1)) + self.gap(windows.gap)


class MovelineEncoder(nn.Module):
    """Event tables, causal sequence encoder and target projection W_t: all that stage 2 copies from stage 1.

    Args:
        events: the event embedding; its item and scene tables serve the target vectors too.
        encoder: "transformer" (relative positions inside attention) or "gru".
        embedding_size, width: as for ``events``.
        length: longest window n.
        n_layers, n_heads, dropout: of the sequence encoder; a GRU has no heads.
    """

    def __init__(
        self,
        *,
        events: EventEmbedding,
        encoder: Literal["transformer", "gru"],
        embedding_size: int,
        width: int,
        length: int,
        n_layers: int,
        n_heads: int,
        dropout: float,
    ):
        super().__init__()
        self.events = events
        self.dropout = Dropout(dropout)
        self.sequence = (
            CausalEncoder(width=width, length=length, n_layers=n_layers, n_heads=n_heads, dropout=dropout)
            if encoder == "transformer"
            else RecurrentEncoder(width=width, n_layers=n_layers, dropout=dropout)
        )
        self.target = nn.Linear(2 * embedding_size, width, bias=False)  # W_t

    def forward(self, windows: Windows) -> Tensor:
        """-> encoded windows [U, n, d]; position j depends on events 0..j only."""
        return self.sequence(self.dropout(self.events(windows)))

    def add_items(self, rows: ItemRows) -> None:
        """Items that came after training: of an e_I by id they have nothing, of one by codes their codes."""
        items = self.events.item
        if isinstance(items, CodedEmbedding):
            items.add_items(rows.code_tokens[:, :-1])
        else:
            add_zeros(items, len(rows))

    def item_vectors(self, items: Tensor, scenes: Tensor) -> Tensor:
        """W_t [e_I; e_S] of items and their scene sets, both [...] -> [..., d], not normalized."""
        return self.target(torch.cat([self.events.item(items), self.events.scene(scenes)], dim=-1))


class RecurrentEncoder(nn.Module):
    """GRU in place of the Transformer (option ``moveline_encoder: gru``)."""

    def __init__(self, *, width: int, n_layers: int, dropout: float):
        super().__init__()
        self.gru = nn.GRU(width, width, n_layers, batch_first=True, dropout=dropout if n_layers > 1 else 0.0)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[U, n, d] -> [U, n, d]"""
        return self.norm(self.gru(x)[0])


def visible_prefix(cut: Tensor, length: int) -> Tensor:
    """The events a row may read: the first ``cut`` [...] of its window -> [..., length] bool."""
    return torch.arange(length, device=cut.device) < cut.unsqueeze(-1)
