"""Scaled dot-product attention: torch's own, but in training on a CPU with a learned bias or with dropout.

There torch has no fused form. Its plain one holds all weights in memory several times over, draws dropout an
element at a time and looks for rows without a visible key; here a few sequences at a time stay in the cache.
"""

from collections.abc import Iterator
from itertools import repeat

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_nif.model.layers.dropout import drop
from recbole_nif.tracing import may_wait

IN_CACHE = 640_000  # attention weights that stay in a core's cache, forward and backward


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    bias: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Softmax attention.

    Args:
        queries: [N, H, q, d]; keys, values: [N, H, n, d].
        mask: broadcasts to [N, H, q, n], bool (True = visible) or added; every query sees some key.
        bias: broadcasts to [1, H, q, n], added; what a bool ``mask`` hides stays hidden.
        dropout: rate on the weights.
        scale: of the products; None = 1 / sqrt(d).

    Returns:
        [N, H, q, d]
    """
    fused = not dropout and not any(added is not None and added.requires_grad for added in (mask, bias))
    if fused or not (may_wait(queries) and torch.is_grad_enabled()):
        if bias is not None:
            mask = bias if mask is None else _masked(bias, mask)
        return F.scaled_dot_product_attention(queries, keys, values, mask, dropout_p=dropout, scale=scale)
    _, heads, q, width = queries.shape
    size = max(1, IN_CACHE // (heads * q * keys.shape[2]))  # sequences at a time
    queries = queries * (width**-0.5 if scale is None else scale)
    parts = zip(
        queries.split(size),
        keys.transpose(-1, -2).split(size),
        values.split(size),
        _parts(mask, size),
        strict=False,  # a mask of all sequences comes again and again
    )
    return torch.cat(
        [
            drop(_masked_(_biased_(queries @ keys, bias), mask).softmax(-1), dropout) @ values
            for queries, keys, values, mask in parts
        ]
    )


def _parts(mask: Tensor | None, size: int) -> Iterator[Tensor | None]:
    if mask is None or mask.dim() < 4 or len(mask) == 1:
        return repeat(mask)
    return iter(mask.split(size))


def _biased_(scores: Tensor, bias: Tensor | None) -> Tensor:
    return scores if bias is None else scores.add_(bias)


def _masked_(scores: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill_(~mask, float("-inf"))
    return scores.add_(mask)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    """As :func:`_masked_`, but both broadcast and ``scores`` stay."""
    return scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
