"""The Semantic Alignment Module, flow-target attention and the alignment loss."""

import math

import pytest
import torch

from recbole_nif.model.amen.alignment import (
    FlowTargetAttention,
    SemanticAlignment,
    alignment_loss,
    match_scores,
)
from recbole_nif.model.layers.sphere import unit

E = torch.eye(4)


@pytest.fixture
def flow() -> torch.Tensor:
    torch.manual_seed(0)
    return unit(torch.randn(2, 3, 4))


def test_alignment_starts_as_the_identity(flow):
    aligned, _ = SemanticAlignment(width=4)(flow, torch.randn(2, 4))
    assert torch.equal(aligned, flow)


def test_alignment_leaves_the_identity_in_the_first_step(flow):
    module = SemanticAlignment(width=4)
    module(flow, torch.randn(2, 4))[0].square().sum().backward()
    assert module.outer.grad.abs().sum() > 0


def test_gate_depends_on_the_candidate_and_equals_the_formula(flow):
    module, item = SemanticAlignment(width=4), torch.randn(2, 4)
    _, log_gate = module(flow, item)
    features = torch.cat([flow[0, 1], item[0], flow[0, 1] * item[0]])
    expected = torch.sigmoid(features @ module.gate.weight[0] + module.gate.bias[0])
    assert log_gate[0, 1].exp().item() == pytest.approx(expected.item(), rel=1e-5)
    assert not torch.allclose(log_gate, module(flow, -item)[1])


def test_attention_at_the_start_is_plain_attention_with_the_gate_term(flow):
    alignment, attention, item = SemanticAlignment(width=4), FlowTargetAttention(width=4), torch.randn(2, 4)
    aligned, log_gate = alignment(flow, item)
    result = attention(aligned, item, log_gate)
    scores = torch.einsum("nd,nkd->nk", attention.query(item), attention.key(flow)) / 2 + log_gate
    expected = torch.einsum("nk,nkd->nd", scores.softmax(-1), attention.value(flow))
    assert torch.allclose(result, expected, atol=1e-6)


def test_an_open_gate_is_no_gate(flow):
    attention, item = FlowTargetAttention(width=4), torch.randn(2, 4)
    assert torch.allclose(attention(flow, item, None), attention(flow, item, torch.zeros(2, 3)))


def test_match_scores_are_the_largest_mean_and_first_cosine():
    flow = torch.stack([2 * E[0], E[1], E[0] + E[1]]).unsqueeze(0)
    expected = torch.tensor([[1.0, (1 + 0 + 0.5**0.5) / 3, 1.0]])
    assert torch.allclose(match_scores(flow, 5 * E[:1]), expected)


def test_alignment_loss_of_two_clicked_rows_by_hand():
    ids, weight = torch.tensor([1, 2, 3]), torch.tensor([1.0, 1.0, 0.0])
    loss = alignment_loss(E[:3], 3 * E[:3], ids, weight, temperature=0.5)
    assert loss.item() == pytest.approx(
        math.log(1 + math.exp(-2)), rel=1e-5
    )  # the unclicked row is no negative


def test_rows_of_the_same_item_are_no_negatives_of_each_other():
    ids = torch.tensor([1, 1, 2])
    loss = alignment_loss(E[:3], E[[0, 0, 1]], ids, torch.ones(3), temperature=0.5)
    right = math.log(1 + math.exp(-2))  # cosine 1 with its item, 0 with item 2
    wrong = math.log(1 + math.exp(2))  # cosine 0 with its item, 1 with item 2
    neither = math.log(3)  # row 2 has two rows of item 1 as negatives
    assert loss.item() == pytest.approx((right + wrong + neither) / 3, rel=1e-5)


def test_without_clicks_the_alignment_loss_is_zero_and_has_no_nan_gradient():
    summary = torch.zeros(2, 4, requires_grad=True)
    loss = alignment_loss(summary, E[:2], torch.tensor([1, 2]), torch.zeros(2), temperature=0.1)
    loss.backward()
    assert loss.item() == 0 and (summary.grad == 0).all()
