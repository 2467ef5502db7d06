"""Pre-norm Transformer blocks: a causal encoder with relative positions, and a decoder of flow slots.

Both work on windows that several rows share: causality alone decides what a position has seen, so one
pass over a window serves every row that reads a prefix of it, and padding on the right needs no mask.
"""

import torch
from torch import Tensor, nn

from recbole_nif.model.layers.attend import attend
from recbole_nif.model.layers.dropout import Dropout


class Attention(nn.Module):
    """Multi-head attention whose keys and values are computed apart from the queries.

    They come as one tensor [N, 2, H, n, d/H]: it can be computed per window and gathered per row.

    Args:
        width, n_heads: d and H.
        dropout: rate on the attention weights.
    """

    def __init__(self, *, width: int, n_heads: int, dropout: float = 0.0):
        super().__init__()
        if width % n_heads:
            raise ValueError(f"width {width} is not a multiple of n_heads {n_heads}")
        self.n_heads, self.dropout_rate = n_heads, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)

    def keys_values(self, x: Tensor) -> Tensor:
        """x: [N, n, d] -> keys and values [N, 2, H, n, d/H]."""
        split = self.key_value(x).unflatten(-1, (2, self.n_heads, -1))  # [N, n, 2, H, d/H]
        return split.permute(0, 2, 3, 1, 4).contiguous()

    def forward(self, x: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        """x: [N, q, d]; mask: see :func:`attend` -> [N, q, d]. Without a mask everything is visible."""
        queries = self.query(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # [N, H, q, d/H]
        keys, values = keys_values.unbind(1)
        dropout = self.dropout_rate if self.training else 0.0
        attended = attend(queries, keys, values, mask, dropout=dropout)
        return self.output(attended.transpose(1, 2).flatten(2))  # [N, q, d]

    def weights(self, x: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        """The attention weights [N, q, n] of ``forward`` without dropout, the mean of the heads."""
        queries = self.query(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # [N, H, q, d/H]
        keys = keys_values[:, 0]
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5  # [N, H, q, n]
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, float("-inf"))
        elif mask is not None:
            scores = scores + mask
        return scores.softmax(-1).mean(1)


class FeedForward(nn.Sequential):
    """Position-wise layer of width 4d, with the norm in front."""

    def __init__(self, *, width: int, dropout: float):
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            Dropout(dropout),
        )


class RelativePositionBias(nn.Module):
    """Learned attention bias per head and distance, -inf towards the future."""

    def __init__(self, *, n_heads: int, length: int):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(n_heads, length))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def forward(self, n: int) -> Tensor:
        """The float mask [1, H, n, n] shared by all windows: entry (i, j) depends on i - j only."""
        position = torch.arange(n, device=self.bias.device)
        distance = position[:, None] - position  # [n, n]
        # [H, n, n]; the gradient of self.bias[:, distance] is summed in another order at each call
        bias = self.bias.index_select(1, distance.clamp_min(0).flatten()).unflatten(1, distance.shape)
        return bias.masked_fill(distance < 0, float("-inf")).unsqueeze(0)


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, *, width: int, n_heads: int, dropout: float):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width=width, n_heads=n_heads)
        self.feed_forward = FeedForward(width=width, dropout=dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: [N, n, d]; mask: see :class:`Attention` -> [N, n, d]."""
        normed = self.norm(x)
        x = x + self.dropout(self.attention(normed, self.attention.keys_values(normed), mask))
        return x + self.feed_forward(x)


class CausalEncoder(nn.Module):
    """Causal Transformer encoder; positions enter only as the distance inside attention.

    Args:
        width: model width d.
        length: longest window.
        n_layers, n_heads: blocks, and attention heads in each.
        dropout: rate on the output of each sub-layer.
    """

    def __init__(self, *, width: int, length: int, n_layers: int, n_heads: int, dropout: float):
        super().__init__()
        self.position = RelativePositionBias(n_heads=n_heads, length=length)
        self.layers = nn.ModuleList(
            EncoderLayer(width=width, n_heads=n_heads, dropout=dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """x: [N, n, d], padded on the right -> [N, n, d], where position j has seen 0..j only."""
        mask = self.position(x.shape[1])
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class DecoderLayer(nn.Module):
    """Self-attention among flow slots, cross-attention to the encoded window, feed-forward layer."""

    def __init__(self, *, width: int, n_heads: int, dropout: float):
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width=width, n_heads=n_heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width=width, n_heads=n_heads)
        self.feed_forward = FeedForward(width=width, dropout=dropout)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, self_mask: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """x: [G, q, d]; memory: keys and values [G, 2, H, n, d/H]; masks: see :meth:`SlotDecoder.forward`."""
        normed = self.self_norm(x)
        x = x + self.dropout(self.self_attention(normed, self.self_attention.keys_values(normed), self_mask))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), memory, memory_mask))
        return x + self.feed_forward(x)


class SlotDecoder(nn.Module):
    """Decodes K slots for each of Q cuts of a window; cuts do not see each other.

    Args: as :class:`CausalEncoder`.
    """

    def __init__(self, *, width: int, n_layers: int, n_heads: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width=width, n_heads=n_heads, dropout=dropout) for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(width)

    def memory(self, encoded: Tensor) -> list[Tensor]:
        """encoded: windows [U, n, d] -> for each layer keys and values [U, 2, H, n, d/H]."""
        return [layer.cross_attention.keys_values(encoded) for layer in self.layers]

    def forward(self, slots: Tensor, memory: list[Tensor], visible: Tensor) -> Tensor:
        """Decode all slots at once.

        Args:
            slots: [G, Q, K, d] inputs; slot k sees slots 0..k of its own cut.
            memory: from :meth:`memory`, gathered to the G groups.
            visible: [G, Q, n] bool, the events each cut may attend to, at least one.

        Returns:
            [G, Q, K, d]
        """
        _, n_cuts, n_slots, _ = slots.shape
        memory_mask = visible.repeat_interleave(n_slots, dim=1).unsqueeze(1)  # [G, 1, QK, n]
        # One block-diagonal mask for all groups is several times faster than Q attentions over K slots.
        causal = torch.ones(n_slots, n_slots, dtype=torch.bool, device=slots.device).tril()
        self_mask = torch.block_diag(*[causal] * n_cuts)  # [QK, QK]
        x = slots.flatten(1, 2)  # [G, QK, d]
        for layer, layer_memory in zip(self.layers, memory, strict=True):
            x = layer(x, self_mask, layer_memory, memory_mask)
        return self.norm(x).unflatten(1, (n_cuts, n_slots))
