"""Layers of transformers' T5 with this project's attention: the same parameters and the same values.

``T5Stack``'s own forward pass computes all attention weights at once and wants encoder states per row.
"""

import torch
from torch import Tensor, nn

from recbole_nif.model.layers.attend import attend


def split_heads(attention: nn.Module, x: Tensor) -> Tensor:
    """[G, Q, heads * d_kv] -> [G, heads, Q, d_kv]"""
    return x.unflatten(-1, (attention.n_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[G, heads, Q, d_kv] -> [G, Q, heads * d_kv]"""
    return x.transpose(1, 2).flatten(2)


def relative_bias(stack: nn.Module, length: int) -> Tensor:
    """T5's bias of the first block, which all blocks share: [heads, length, length]."""
    return stack.block[0].layer[0].SelfAttention.compute_bias(length, length).squeeze(0)


def t5_attend(
    stack: nn.Module, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, bias: Tensor | None = None
) -> Tensor:
    """[G, heads, Q, d_kv] -> the same; ``mask`` and ``bias`` as in :func:`attend`."""
    dropout = stack.config.dropout_rate if stack.training else 0.0
    # T5 does not divide by sqrt(d_kv): its initialization does
    return attend(queries, keys, values, mask, bias=bias, dropout=dropout, scale=1.0)


def self_attention(stack: nn.Module, block: nn.Module, x: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
    """x [G, Q, d] with what a block's self-attention adds to it."""
    layer, attention = block.layer[0], block.layer[0].SelfAttention
    normed = layer.layer_norm(x)
    queries, keys, values = (
        split_heads(attention, project(normed)) for project in (attention.q, attention.k, attention.v)
    )
    attended = t5_attend(stack, queries, keys, values, mask, bias)
    return x + layer.dropout(attention.o(merge_heads(attended)))


def encode(stack: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
    """T5's encoder: x [U, P, d], mask of what each position sees, bool, broadcasts to [U, 1, P, P]."""
    bias = relative_bias(stack, x.shape[1]).unsqueeze(0)  # [1, heads, P, P]
    x = stack.dropout(x)
    for block in stack.block:
        x = block.layer[-1](self_attention(stack, block, x, mask, bias))
    return finish(stack, x)


def finish(stack: nn.Module, x: Tensor) -> Tensor:
    """What follows a stack's last block, [..., d] -> [..., d]."""
    return stack.dropout(stack.final_layer_norm(x))


def block_diagonal(mask: Tensor, n: int) -> Tensor:
    """[q, k] bool -> [n * q, n * k] bool, ``mask`` on the diagonal."""
    return torch.block_diag(*[mask] * n)
