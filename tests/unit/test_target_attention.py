"""DIN's activation unit."""

import pytest
import torch

from recbole_nif.model.layers import target_attention
from recbole_nif.model.layers.embedding import initialize
from recbole_nif.model.layers.mlp import apply_layer
from recbole_nif.model.layers.target_attention import TargetAttention

DIM = 6
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()


def inputs(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(4, DIM, generator=generator)
    history = torch.randn(4, 4, DIM, generator=generator)
    return target, history


def naive(unit: TargetAttention, weight4, target, history, mask):
    """The unit with its [B, L, 4D] input built: [q; k; q - k; q * k]."""
    q = target.unsqueeze(1).expand_as(history)
    features = torch.cat([q, history, q - history, q * history], dim=-1)
    hidden = features @ weight4.t() + unit.first.bias
    scores = unit.rest(apply_layer(unit.activation, hidden, mask), mask).squeeze(-1) * mask
    return (scores.unsqueeze(-1) * history).sum(dim=1)


@pytest.mark.parametrize("activation", ["dice", "sigmoid"])
def test_the_decomposed_first_layer_equals_the_concatenation(activation):
    unit = TargetAttention(DIM, [5, 3], activation=activation)
    w_q, w_k, w_minus, w_product = torch.randn(4, 5, DIM, generator=torch.Generator().manual_seed(3))
    unit.first.weight.data = torch.cat([w_q + w_minus, w_k - w_minus, w_product], dim=1)
    weight4 = torch.cat([w_q, w_k, w_minus, w_product], dim=1)
    target, history = inputs()
    expected = naive(unit, weight4, target, history, MASK)
    assert torch.allclose(unit(target, history, MASK), expected, atol=1e-5)


@pytest.mark.parametrize("softmax", [False, True])
def test_computing_items_only_equals_computing_every_position(softmax, monkeypatch):
    unit = TargetAttention(DIM, [5, 3], softmax=softmax)
    target, history = inputs()
    target.requires_grad_(), history.requires_grad_()
    packed = unit(target, history, MASK)
    packed_gradients = torch.autograd.grad(packed.square().sum(), [target, history, *unit.parameters()])

    monkeypatch.setattr(
        target_attention, "positions_of", lambda mask: (torch.arange(mask.numel()), mask.reshape(-1))
    )
    dense = unit(target, history, MASK)
    dense_gradients = torch.autograd.grad(dense.square().sum(), [target, history, *unit.parameters()])
    assert torch.allclose(packed, dense, atol=1e-6)
    for one, other in zip(packed_gradients, dense_gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("softmax", [False, True])
def test_an_empty_history_gives_zero_and_finite_gradients(softmax):
    unit = TargetAttention(DIM, [5, 3], softmax=softmax)
    target, history = inputs()
    target.requires_grad_()
    output = unit(target, history, torch.zeros_like(MASK))
    assert torch.equal(output, torch.zeros(4, DIM))
    output.sum().backward()
    assert target.grad.isfinite().all()


@pytest.mark.parametrize("softmax", [False, True])
def test_what_stands_at_padded_positions_does_not_matter(softmax):
    unit = TargetAttention(DIM, [5, 3], softmax=softmax)
    target, history = inputs()
    other = torch.where(MASK.unsqueeze(-1), history, torch.full_like(history, 77.0))
    assert torch.allclose(unit(target, history, MASK), unit(target, other, MASK), atol=1e-6)


def test_the_order_of_the_history_does_not_matter():
    unit = TargetAttention(DIM, [5, 3]).eval()
    target, history = inputs()
    order = torch.tensor([3, 1, 0, 2])
    assert torch.allclose(
        unit(target, history, MASK), unit(target, history[:, order], MASK[:, order]), atol=1e-6
    )


def test_raw_scores_grow_with_a_repeated_history_and_softmax_scores_do_not():
    target, history = inputs()
    once, twice = history[:, :1], history[:, :1].expand(-1, 2, -1)
    mask = torch.ones(4, 2, dtype=torch.bool)
    raw = TargetAttention(DIM, [5], activation="relu")
    assert torch.allclose(raw(target, twice, mask), 2 * raw(target, once, mask[:, :1]), atol=1e-6)
    normalized = TargetAttention(DIM, [5], activation="relu", softmax=True)
    assert torch.allclose(normalized(target, twice, mask), once.squeeze(1), atol=1e-6)


def test_softmax_weights_are_the_scores_over_the_root_of_the_width():
    unit = TargetAttention(DIM, [5], activation="sigmoid", softmax=True)
    target, history = inputs()
    weights = torch.softmax(unit.scores(target, history, MASK)[0] / DIM**0.5, dim=0)
    assert torch.allclose(unit(target, history, MASK)[0], weights @ history[0], atol=1e-6)


@pytest.mark.parametrize("softmax", [False, True])
def test_targets_read_histories_by_number_as_they_read_copies_of_them(softmax):
    unit = TargetAttention(DIM, [5, 3], activation="dice", softmax=softmax).train()
    target, (_, history) = inputs(1)[0], inputs()
    rows = torch.tensor([1, 0, 1, 2])
    copies = unit(target, history[rows], MASK[rows])
    assert torch.allclose(unit(target, history, MASK, rows), copies, atol=1e-6)
    one = unit(target, history[:1], MASK[:1], torch.zeros(4, dtype=torch.long))
    assert torch.allclose(one, unit(target, history[[0] * 4], MASK[[0] * 4]), atol=1e-6)


@pytest.mark.parametrize("activation", ["dice", "sigmoid"])
@pytest.mark.parametrize("softmax", [False, True])
def test_targets_that_share_one_history_read_it_as_they_read_copies_of_it(softmax, activation, monkeypatch):
    unit = TargetAttention(DIM, [5, 3], softmax=softmax, activation=activation).eval()
    target, history = inputs()
    history, mask, rows = history[1:2], MASK[1:2], torch.zeros(4, dtype=torch.long)
    expected = unit(target, history.expand(4, -1, -1), mask.expand(4, -1))
    monkeypatch.setattr(target_attention, "IN_CACHE", 12)  # three targets at a time
    assert torch.allclose(unit(target, history, mask, rows), expected, atol=1e-6)


def test_scoring_in_pieces_that_stay_in_the_cache_equals_one_piece(monkeypatch):
    unit = TargetAttention(DIM, [5, 3], activation="dice").eval()
    target, history = inputs()
    whole = unit(target, history, MASK)
    monkeypatch.setattr(target_attention, "IN_CACHE", 3)
    assert torch.allclose(unit(target, history, MASK), whole, atol=1e-6)  # with gradients: in one piece
    with torch.no_grad():
        assert torch.allclose(unit(target, history, MASK), whole, atol=1e-6)
        empty = unit(target, history, torch.zeros_like(MASK))
    assert torch.equal(empty, torch.zeros(4, DIM))


def test_scores_of_an_initialized_unit_are_small_but_differ():
    torch.manual_seed(0)
    unit, (target, history) = TargetAttention(DIM).apply(initialize), inputs()
    scores = unit.scores(target, history, MASK)[MASK]
    assert scores.abs().max() < 0.3 and scores.std() > 0
