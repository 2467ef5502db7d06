"""T5's decoder over histories that rows share (Eq. 6): next-token training and cached decoding.

The parameters and layers are those of transformers' ``T5Stack``. Its forward pass wants encoder states per
row; here keys and values of a window are projected once and read by all of its rows.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_nif.model.genci.history_encoder import EncodedHistories
from recbole_nif.model.layers.attend import attend
from recbole_nif.model.layers.row_groups import RowGroups


class Source(NamedTuple):
    """What N rows decode from, in G groups of R rows that read one window."""

    memory: list[Tensor]  # of each layer [G, 2, heads, S, d_kv]
    visible: Tensor  # [G, R, S] bool
    groups: RowGroups


class Cache(NamedTuple):
    """Keys and values of the t tokens decoded so far; of each layer [G, Q, t, heads, d_kv] each."""

    layers: list[tuple[Tensor, Tensor]]

    def select(self, beams: Tensor) -> "Cache":
        """beams: [G, Q] int64, which of its group's Q' decoded sequences each new one continues."""
        group = torch.arange(beams.shape[0], device=beams.device).unsqueeze(1)
        return Cache([(keys[group, beams], values[group, beams]) for keys, values in self.layers])


class SharedDecoder(nn.Module):
    """Runs a T5 decoder for many rows per window.

    Args:
        stack: ``T5Stack`` of transformers, a decoder.
        group_size: rows of one window that are decoded together.
    """

    def __init__(self, stack: nn.Module, *, group_size: int):
        super().__init__()
        self.stack, self.group_size = stack, group_size

    def memory(self, states: Tensor) -> list[Tensor]:
        """Encoder states [U, S, d] -> keys and values of every layer, [U, 2, heads, S, d_kv] each."""
        attentions = [block.layer[1].EncDecAttention for block in self.stack.block]
        return [
            torch.stack([_heads(attention, attention.k(states)), _heads(attention, attention.v(states))], 1)
            for attention in attentions
        ]

    def source(
        self, memory: list[Tensor], encoded: EncodedHistories, window: Tensor, history: Tensor
    ) -> Source:
        """What the rows with ``history`` [N] read; window: [H], that of every history."""
        groups = RowGroups.of(window.index_select(0, history), encoded.states.shape[0], self.group_size)
        visible = groups.spread(encoded.visible.index_select(0, history))  # [G, R, S]
        # a place without a row reads something: an empty softmax would be NaN
        visible = visible | ~visible.any(-1, keepdim=True)
        return Source([layer.index_select(0, groups.window) for layer in memory], visible, groups)

    def forward(self, inputs: Tensor, source: Source) -> Tensor:
        """Teacher forcing: inputs [N, T, d], position t sees 0..t of its own row -> [N, T, d]."""
        x = source.groups.spread(inputs)  # [G, R, T, d]
        n_rows, n_steps = x.shape[1:3]
        x = self.stack.dropout(x.flatten(1, 2))  # [G, RT, d]
        bias = self._block_bias(n_rows, n_steps)
        visible = source.visible.repeat_interleave(n_steps, dim=1).unsqueeze(1)  # [G, 1, RT, S]
        for block, memory in zip(self.stack.block, source.memory, strict=True):
            attention = block.layer[0].SelfAttention
            normed = block.layer[0].layer_norm(x)
            queries, keys, values = (
                _heads(attention, project(normed)) for project in (attention.q, attention.k, attention.v)
            )
            attended = self._attend(queries, keys, values, bias)
            x = x + block.layer[0].dropout(attention.o(_merge(attended)))
            x = self._read_and_feed(block, x, memory, visible)
        return source.groups.collect(self._finish(x).unflatten(1, (n_rows, n_steps)))

    def step(self, x: Tensor, source: Source, cache: Cache | None) -> tuple[Tensor, Cache]:
        """The next token of Q sequences per group, Q a multiple of R: x [G, Q, d] -> [G, Q, d], cache."""
        done = 0 if cache is None else cache.layers[0][0].shape[2]
        bias = self._relative_bias(done + 1)[:, -1]  # [heads, t + 1]
        visible = source.visible.repeat_interleave(x.shape[1] // source.visible.shape[1], dim=1).unsqueeze(1)
        x, layers = self.stack.dropout(x), []
        for place, (block, memory) in enumerate(zip(self.stack.block, source.memory, strict=True)):
            attention = block.layer[0].SelfAttention
            normed = block.layer[0].layer_norm(x)
            query, key, value = (
                project(normed).unflatten(-1, (attention.n_heads, -1)).unsqueeze(2)
                for project in (attention.q, attention.k, attention.v)
            )  # [G, Q, 1, heads, d_kv]
            if cache is not None:
                key = torch.cat([cache.layers[place][0], key], dim=2)  # [G, Q, t + 1, heads, d_kv]
                value = torch.cat([cache.layers[place][1], value], dim=2)
            layers.append((key, value))
            # so few keys that products and sums are faster than a matrix product per row and head
            weights = ((query * key).sum(-1) + bias.T).softmax(2)  # [G, Q, t + 1, heads]
            attended = (weights.unsqueeze(-1) * value).sum(2).flatten(2)  # [G, Q, heads * d_kv]
            x = x + block.layer[0].dropout(attention.o(attended))
            x = self._read_and_feed(block, x, memory, visible)
        return self._finish(x), Cache(layers)

    def _read_and_feed(self, block: nn.Module, x: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """Cross-attention and feed-forward layer of a block; x: [G, Q, d], visible: [G, 1, Q, S]."""
        cross, attention = block.layer[1], block.layer[1].EncDecAttention
        queries = _heads(attention, attention.q(cross.layer_norm(x)))  # [G, heads, Q, d_kv]
        attended = self._attend(queries, *memory.unbind(1), visible)
        x = x + cross.dropout(attention.o(_merge(attended)))
        return block.layer[2](x)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        dropout = self.stack.config.dropout_rate if self.training else 0.0
        # T5 does not divide by sqrt(d_kv): its initialization does
        return attend(queries, keys, values, mask, dropout=dropout, scale=1.0)

    def _finish(self, x: Tensor) -> Tensor:
        return self.stack.dropout(self.stack.final_layer_norm(x))

    def _relative_bias(self, length: int) -> Tensor:
        """T5's bias of the first block, which all share: [heads, length, length]."""
        return self.stack.block[0].layer[0].SelfAttention.compute_bias(length, length).squeeze(0)

    def _block_bias(self, n_rows: int, n_steps: int) -> Tensor:
        """[1, heads, RT, RT]: T5's bias inside a row's own past, -inf elsewhere.

        One attention of block-diagonal form is several times faster than R attentions over T steps.
        """
        bias = self._relative_bias(n_steps)  # [heads, T, T]
        device = bias.device
        past = torch.ones(n_steps, n_steps, dtype=torch.bool, device=device).tril()
        own = torch.block_diag(*[past] * n_rows)  # [RT, RT]
        return bias.repeat(1, n_rows, n_rows).masked_fill(~own, float("-inf")).unsqueeze(0)


def _heads(attention: nn.Module, x: Tensor) -> Tensor:
    """[G, Q, heads * d_kv] -> [G, heads, Q, d_kv]"""
    return x.unflatten(-1, (attention.n_heads, -1)).transpose(1, 2)


def _merge(x: Tensor) -> Tensor:
    """[G, heads, Q, d_kv] -> [G, Q, heads * d_kv]"""
    return x.transpose(1, 2).flatten(2)
