"""The flow's InfoNCE: values by hand, false negatives, hard negatives, logQ and its fused gradient."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_nif.model.amen import losses
from recbole_nif.model.amen.losses import FlowClicks, FlowInfoNCE, owned, weighted_log_sum_exp

E = torch.eye(4)


def contrast(**options) -> FlowInfoNCE:
    settings = {
        "temperature": 0.5,
        "learnable_temperature": False,
        "n_in_batch": 2,
        "n_uniform": 2,
        "item_count": torch.tensor([0, 6, 2, 0, 0]),
        "use_logq": False,
    }
    return FlowInfoNCE(**(settings | options))


def one_flow_loss(module: FlowInfoNCE, positives: list[int], **options) -> float:
    """One flow vector at its target E[0]; negatives: item 1 at E[0], item 2 at E[1]."""
    return module(
        flow=E[:1].unsqueeze(0),
        targets=E[:1].unsqueeze(0),
        mask=torch.ones(1, 1, dtype=torch.bool),
        negatives=E[:2],
        negative_items=torch.tensor([1, 2]),
        positives=torch.tensor([positives]),
        group=torch.tensor([0]),
        **options,
    ).item()


def test_loss_of_one_flow_by_hand():
    e2 = math.exp(2)  # cosine 1 over temperature .5
    assert one_flow_loss(contrast(), [0]) == pytest.approx(math.log((2 * e2 + 1) / e2), rel=1e-5)


def test_items_that_the_user_clicks_in_the_window_are_no_negatives():
    e2 = math.exp(2)
    assert one_flow_loss(contrast(), [3, 1]) == pytest.approx(math.log((e2 + 1) / e2), rel=1e-5)
    assert one_flow_loss(contrast(), [2, 1]) == pytest.approx(0, abs=1e-6)


def test_hard_negatives_join_the_denominator_unless_masked():
    e2 = math.exp(2)
    hard = E[:2].unsqueeze(0)  # one like the target, one orthogonal
    both = one_flow_loss(contrast(), [1, 2], hard_negatives=hard, hard_mask=torch.tensor([[[True, True]]]))
    assert both == pytest.approx(math.log((2 * e2 + 1) / e2), rel=1e-5)
    none = one_flow_loss(contrast(), [1, 2], hard_negatives=hard, hard_mask=torch.tensor([[[False, False]]]))
    assert none == pytest.approx(0, abs=1e-6)


def test_clicks_are_told_by_the_largest_mean_and_first_cosine():
    clicks = FlowClicks(width=4)
    with torch.no_grad():
        clicks.weight.copy_(torch.tensor([1.0, 2.0, 3.0]))
        clicks.item.weight.copy_(torch.tensor([[0.0, 0.0, 7.0, 0.0]]))  # the third item is liked
        clicks.item.bias.fill_(0.5)
    flow = torch.stack([E[0], E[1]]).unsqueeze(0)  # [1, 2, d]
    items = torch.stack([E[0], E[1], E[2]]).unsqueeze(0)  # cosines (1, 0), (0, 1) and (0, 0)
    logits = [1 + 2 * 0.5 + 3 * 1 + 0.5, 1 + 2 * 0.5 + 0.5, 7.5]
    assert clicks(flow, items).tolist() == [pytest.approx(logits)]
    label, mask = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[True, True, False]])
    loss = (math.log1p(math.exp(-logits[0])) + math.log1p(math.exp(logits[1]))) / 2
    assert clicks.loss(flow, items, label, mask).item() == pytest.approx(loss, rel=1e-5)
    assert clicks.loss(flow, items, label, torch.zeros_like(mask)).item() == 0.0


def test_logq_subtracts_the_log_of_the_expected_count():
    module = contrast(use_logq=True)  # item 1: 2 * 6/8 + 2/4, item 2: 2 * 2/8 + 2/4
    e2 = math.exp(2)
    expected = math.log((e2 + e2 / 2.0 + 1 / 1.0) / e2)
    assert one_flow_loss(module, [0]) == pytest.approx(expected, rel=1e-5)


def test_loss_is_the_mean_over_valid_targets_only():
    module = contrast()
    flow = torch.nn.functional.normalize(
        torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    arguments = {
        "negatives": E[:2],
        "negative_items": torch.tensor([1, 2]),
        "positives": torch.tensor([[0], [1]]),
        "group": torch.tensor([0, 1, 1]),
    }
    mask = torch.tensor([[True, False], [True, True], [False, False]])
    targets = flow.flip(0)
    single = [
        module(
            flow=flow,
            targets=targets,
            mask=torch.zeros(3, 2).bool().index_put(tuple(place), mask.any()),
            **arguments,
        )
        for place in mask.nonzero().unsqueeze(-1)
    ]
    total = module(flow=flow, targets=targets, mask=mask, **arguments)
    assert total.item() == pytest.approx(sum(single).item() / 3, rel=1e-5)
    empty = module(flow=flow, targets=targets, mask=torch.zeros(3, 2).bool(), **arguments)
    assert empty.item() == 0


def test_in_batch_negatives_are_valid_targets_only_and_uniform_ones_are_items():
    module = contrast(n_in_batch=200, n_uniform=200)
    mask = torch.tensor([[True, False], [False, True]])
    in_batch, uniform = module.draw(mask)
    assert set(in_batch.tolist()) == {0, 3}
    assert set(uniform.tolist()) == {1, 2, 3, 4}


def test_temperature_is_learned_only_on_request():
    for learnable in (False, True):
        module = contrast(learnable_temperature=learnable)
        assert module.log_temperature.requires_grad is learnable
        assert module.log_temperature.exp().item() == pytest.approx(0.5)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999), rows=st.integers(1, 12), n_negatives=st.integers(1, 9), block=st.integers(1, 5)
)
def test_fused_log_sum_exp_equals_autograd(seed, rows, n_negatives, block):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    base, queries, negatives = random(rows), 9 * random(rows, 3), random(n_negatives, 3)
    offset, weight = random(n_negatives), random(rows).abs()
    blocked = random(4, n_negatives) > 0
    group = torch.randint(0, 4, (rows,), generator=generator)
    inputs = [tensor.requires_grad_() for tensor in (base, queries, negatives)]
    logits = (queries @ negatives.T + offset).masked_fill(blocked[group], -math.inf)
    plain = (weight * torch.cat([base.unsqueeze(1), logits], dim=1).logsumexp(1)).sum()
    usual = losses.CPU_BLOCK
    losses.CPU_BLOCK = block
    try:
        fused = weighted_log_sum_exp(base, queries, negatives, offset, blocked, group, weight)
    finally:
        losses.CPU_BLOCK = usual
    assert torch.allclose(fused, plain)
    for ours, expected in zip(
        torch.autograd.grad(2 * fused, inputs), torch.autograd.grad(2 * plain, inputs), strict=True
    ):
        assert torch.allclose(ours, expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999))
def test_owned_equals_a_comparison_of_all_pairs(seed):
    generator = torch.Generator().manual_seed(seed)
    positives = torch.randint(0, 6, (3, 4), generator=generator)
    items = torch.randint(1, 6, (5,), generator=generator)
    assert torch.equal(owned(positives, items), (positives.unsqueeze(1) == items.unsqueeze(1)).any(-1))
