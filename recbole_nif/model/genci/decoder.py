"""T5's decoder over histories that rows share (Eq. 6): next-token training and cached decoding.

The parameters and layers are those of transformers' ``T5Stack``. Its forward pass wants encoder states per
row; here keys and values of a window are projected once and read by all of its rows.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_nif.model.genci.t5_layers import (
    block_diagonal,
    finish,
    merge_heads,
    relative_bias,
    self_attention,
    split_heads,
    t5_attend,
)
from recbole_nif.model.layers.row_groups import RowGroups

ROWS_PER_ATTENTION = 8  # whose few tokens attend in one product


class Source(NamedTuple):
    """What N rows decode from, in G groups of R rows that read one window."""

    memory: list[Tensor]  # of each layer [G, 2, heads, S, d_kv]
    visible: Tensor  # [G, R, S] bool
    groups: RowGroups

    def select(self, rows: Tensor) -> "Source":
        """That of the ``rows`` [M] alone, int64; the others' places stay empty."""
        return self._replace(groups=self.groups._replace(place=self.groups.place.index_select(0, rows)))


class Cache(NamedTuple):
    """Keys and values of the t tokens decoded so far; of each layer [N, W, t, heads, d_kv] each."""

    layers: list[tuple[Tensor, Tensor]]

    def select(self, beams: Tensor) -> "Cache":
        """beams: [N, W'] int64, which of its row's W decoded sequences each new one continues."""
        row = torch.arange(beams.shape[0], device=beams.device).unsqueeze(1)
        return Cache([(keys[row, beams], values[row, beams]) for keys, values in self.layers])


class SharedDecoder(nn.Module):
    """Runs a T5 decoder for many rows per window.

    Args:
        stack: ``T5Stack`` of transformers, a decoder.
        group_size: rows of one window that read it together.
    """

    def __init__(self, stack: nn.Module, *, group_size: int):
        super().__init__()
        self.stack, self.group_size = stack, group_size

    def source(self, states: Tensor, visible: Tensor, window: Tensor) -> Source:
        """Keys and values of N rows.

        Args:
            states: encoder states of all windows, [U, S, d].
            visible: [N, S] bool, what each row reads of its window.
            window: [N] int64.
        """
        groups = RowGroups.of(window, states.shape[0], self.group_size)
        visible = groups.spread(visible)  # [G, R, S]
        # a place without a row reads something: an empty softmax would be NaN
        visible = visible | ~visible.any(-1, keepdim=True)
        states = states.index_select(
            0, groups.window
        )  # [G, S, d], which is much narrower than keys and values
        return Source([self._memory(block, states) for block in self.stack.block], visible, groups)

    def forward(self, inputs: Tensor, source: Source) -> Tensor:
        """Teacher forcing: inputs [N, T, d], position t sees 0..t of its own row -> [N, T, d]."""
        n_rows, n_steps, _ = inputs.shape
        more = (0, 0, 0, 0, 0, -n_rows % ROWS_PER_ATTENTION)  # rows, so that all attend in full numbers
        x = self.stack.dropout(inputs)  # [N, T, d]
        past = torch.ones(n_steps, n_steps, dtype=torch.bool, device=x.device).tril()
        own = block_diagonal(past, ROWS_PER_ATTENTION)
        bias = relative_bias(self.stack, n_steps).repeat(1, *[ROWS_PER_ATTENTION] * 2).unsqueeze(0)
        for block, memory in zip(self.stack.block, source.memory, strict=True):
            # one attention of block-diagonal form is several times faster than one over T steps per row
            together = F.pad(x, more).unflatten(0, (-1, ROWS_PER_ATTENTION)).flatten(1, 2)
            x = self_attention(self.stack, block, together, own, bias).unflatten(1, (-1, n_steps))
            x = self._read_and_feed(block, x.flatten(0, 1)[:n_rows], memory, source)
        return finish(self.stack, x)

    def step(self, x: Tensor, source: Source, cache: Cache | None) -> tuple[Tensor, Cache]:
        """The next token of W sequences of each row: x [N, W, d] -> [N, W, d], cache."""
        done = 0 if cache is None else cache.layers[0][0].shape[2]
        bias = relative_bias(self.stack, done + 1)[:, -1]  # [heads, t + 1]
        x, layers = self.stack.dropout(x), []
        for place, (block, memory) in enumerate(zip(self.stack.block, source.memory, strict=True)):
            attention = block.layer[0].SelfAttention
            normed = block.layer[0].layer_norm(x)
            query, key, value = (
                project(normed).unflatten(-1, (attention.n_heads, -1)).unsqueeze(2)
                for project in (attention.q, attention.k, attention.v)
            )  # [N, W, 1, heads, d_kv]
            if cache is not None:
                key = torch.cat([cache.layers[place][0], key], dim=2)  # [N, W, t + 1, heads, d_kv]
                value = torch.cat([cache.layers[place][1], value], dim=2)
            layers.append((key, value))
            # so few keys that products and sums are faster than a matrix product per row and head
            weights = ((query * key).sum(-1) + bias.T).softmax(2)  # [N, W, t + 1, heads]
            attended = (weights.unsqueeze(-1) * value).sum(2).flatten(2)  # [N, W, heads * d_kv]
            x = x + block.layer[0].dropout(attention.o(attended))
            x = self._read_and_feed(block, x, memory, source)
        return finish(self.stack, x), Cache(layers)

    def _memory(self, block: nn.Module, states: Tensor) -> Tensor:
        """[G, S, d] -> [G, 2, heads, S, d_kv]"""
        attention = block.layer[1].EncDecAttention
        return torch.stack(
            [split_heads(attention, project(states)) for project in (attention.k, attention.v)], 1
        )

    def _read_and_feed(self, block: nn.Module, x: Tensor, memory: Tensor, source: Source) -> Tensor:
        """Cross-attention and feed-forward layer of a block for Q places a row; x: [N, Q, d]."""
        cross, attention, groups = block.layer[1], block.layer[1].EncDecAttention, source.groups
        n_places = x.shape[1]
        queries = groups.spread(attention.q(cross.layer_norm(x))).flatten(1, 2)  # [G, RQ, ...]
        visible = source.visible.repeat_interleave(n_places, dim=1).unsqueeze(1)  # [G, 1, RQ, S]
        attended = t5_attend(self.stack, split_heads(attention, queries), *memory.unbind(1), visible)
        attended = groups.collect(merge_heads(attended).unflatten(1, (-1, n_places)))  # [N, Q, ...]
        return block.layer[2](x + cross.dropout(attention.o(attended)))
