"""Attention in parts equals torch's, and so do its gradients."""

import pytest
import torch
from torch.nn import functional as F

from recbole_nif.model.layers import attend as module
from recbole_nif.model.layers.attend import attend

N, HEADS, Q, KEYS, WIDTH = 5, 2, 3, 4, 6


def inputs():
    torch.manual_seed(0)
    shapes = [(N, HEADS, Q, WIDTH), (N, HEADS, KEYS, WIDTH), (N, HEADS, KEYS, WIDTH)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def bias(*shape, hidden=True):
    mask = torch.randn(*shape, Q, KEYS, dtype=torch.float64)
    if hidden:
        mask[..., 1:] = mask[..., 1:].masked_fill(torch.rand_like(mask[..., 1:]) < 0.3, float("-inf"))
    return mask.requires_grad_()


@pytest.mark.parametrize("in_cache", [1, HEADS * Q * KEYS, 2 * HEADS * Q * KEYS, 10**6])
@pytest.mark.parametrize("shape", [(1, HEADS), (N, HEADS), (N, 1), (HEADS,), ()])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_a_learned_bias_gives_the_values_and_gradients_of_torchs_attention(
    monkeypatch, in_cache, shape, scale
):
    monkeypatch.setattr(module, "IN_CACHE", in_cache)
    q, k, v = inputs()
    mask = bias(*shape)
    given = attend(q, k, v, mask, scale=scale)
    expected = F.scaled_dot_product_attention(q, k, v, mask, scale=scale)
    assert torch.allclose(given, expected, atol=1e-12)
    direction = torch.randn_like(given)
    for ours, torchs in zip(
        torch.autograd.grad((given * direction).sum(), (q, k, v, mask)),
        torch.autograd.grad((expected * direction).sum(), (q, k, v, mask)),
        strict=True,
    ):
        assert torch.allclose(ours, torchs, atol=1e-12)


@pytest.mark.parametrize("in_cache", [1, 10**6])
def test_dropout_scales_what_it_keeps_and_hidden_keys_stay_hidden(monkeypatch, in_cache):
    """Values that name their key: each output is a sum of kept weights, each a 256 / 192 of its own."""
    monkeypatch.setattr(module, "IN_CACHE", in_cache)
    q, k, _ = inputs()
    v = torch.eye(KEYS, dtype=torch.float64).expand(N, HEADS, KEYS, KEYS)
    mask = torch.tensor([True, True, True, False]).expand(N, 1, Q, KEYS)
    weights = F.scaled_dot_product_attention(q, k, v, mask)
    share = attend(q, k, v, mask, dropout=0.25) / weights.clamp_min(1e-9)
    assert set(share.flatten().mul(192).round().tolist()) == {0.0, 256.0}
    assert not share[..., 3].any()


def test_without_gradients_it_is_torchs_own():
    q, k, v = inputs()
    mask = bias(1, HEADS)
    with torch.no_grad():
        expected = F.scaled_dot_product_attention(q, k, v, mask)
        assert torch.equal(attend(q, k, v, mask), expected)
