"""Cohorts and the two attentions of GenCI against numbers computed by hand (Eq. 7 to 9)."""

import math

import pytest
import torch

from recbole_nif.model.genci.history_encoder import EncodedHistories
from recbole_nif.model.genci.intents import ShortTermIntent
from recbole_nif.semantic_id.trie import Cohorts
from tests.unit.genci_doubles import tiny_ids

# Three items; levels 1 and 2 have two codes, the digit one. Cohorts: (1, 0) = {1, 2}, (1, 1) = {3},
# (2, 0) = {1}, (2, 1) = {2, 3}.
CODES = torch.tensor([[-1, -1, -1], [0, 0, 0], [0, 1, 0], [1, 1, 0]])
ITEMS = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 2.0]])


def intent(form="hierarchical", **overrides) -> ShortTermIntent:
    """Attention without projections: scores are q . k / sqrt(2)."""
    table = torch.nn.Embedding.from_pretrained(ITEMS.clone(), freeze=False)
    options = dict(n_heads=1, dropout=0.0, shared=True, group_size=1, over="count", detach=False)
    module = ShortTermIntent(
        items=table,
        cohorts=Cohorts.build(tiny_ids(CODES, (2, 2, 1))),
        form=form,
        width=2,
        **options | overrides,
    )
    for attention in {module.read, module.refine} - {None}:
        for layer in (attention.query, attention.key_value, attention.output):
            torch.nn.init.zeros_(layer.bias)
            layer.weight.data = torch.eye(2).repeat(len(layer.weight) // 2, 1)
    return module


def history(states) -> EncodedHistories:
    """One history; position 0, which only an empty one sees, is hidden."""
    states = torch.tensor([[[9.0, 9.0], *states]])
    visible = torch.tensor([[False] + [True] * (states.shape[1] - 1)])
    return EncodedHistories(states, visible, states[:, -1])


def attention(query, keys):
    """softmax(q k / sqrt(2)) k, with keys as values."""
    weights = [math.exp((query[0] * k[0] + query[1] * k[1]) / math.sqrt(2)) for k in keys]
    return [sum(w * k[axis] for w, k in zip(weights, keys, strict=True)) / sum(weights) for axis in (0, 1)]


GENERATED = torch.tensor([[0, 1]])  # cohorts {1, 2} and {2, 3}
E_C = [[1.0, 2.0], [1.0, 3.0]]
H_ENC = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def test_a_cohort_is_the_mean_of_its_items():
    module = intent("target")
    keys, values = module(GENERATED, history(H_ENC), torch.tensor([0])).unbind(1)
    assert keys[0, 0].tolist() == values[0, 0].tolist() == E_C


def test_the_padded_mean_divides_by_the_largest_cohort():
    keys = intent("target", over="padded")(torch.tensor([[1, 0]]), history(H_ENC), torch.tensor([0]))[0, 0, 0]
    assert keys.tolist() == [[1.0, 1.0], [1.0, 0.0]]  # {3} and {1}, over 2


def test_cohorts_are_refined_by_the_history_and_read_by_the_candidate():
    module = intent()
    state = module(GENERATED, history(H_ENC), torch.tensor([0]))
    refined = [attention(query, H_ENC) for query in E_C]  # Eq. 8
    assert torch.allclose(state[0, 0, 0], torch.tensor(refined), atol=1e-5)
    for item in (1, 2, 3):
        expected = attention(ITEMS[item].tolist(), refined)  # Eq. 9
        read = module.score_items(torch.tensor([item]), state)
        assert torch.allclose(read[0], torch.tensor(expected), atol=1e-5)


def test_target_intent_reads_the_cohorts_themselves():
    module = intent("target")
    state = module(GENERATED, history(H_ENC), torch.tensor([0]))
    expected = attention(ITEMS[3].tolist(), E_C)
    assert torch.allclose(module.score_items(torch.tensor([3]), state)[0], torch.tensor(expected), atol=1e-5)


def test_intent_mean_is_the_mean_of_the_cohorts_whatever_the_candidate():
    module = intent("mean")
    state = module(GENERATED, history(H_ENC), torch.tensor([0]))
    assert module.score_items(torch.tensor([3]), state).tolist() == [[1.0, 2.5]]


def test_histories_of_one_window_refine_side_by_side_as_alone():
    torch.manual_seed(0)
    states, visible = torch.randn(2, 5, 2), torch.rand(7, 5) < 0.6
    visible[:, 0] = True
    window, codes = torch.tensor([0, 1, 0, 0, 1, 0, 0]), torch.randint(0, 2, (7, 2))
    encoded = EncodedHistories(states, visible, states[window, 0])
    alone = intent(group_size=1)(codes, encoded, window)
    assert torch.allclose(intent(group_size=3)(codes, encoded, window), alone, atol=1e-6)


@pytest.mark.parametrize(("shared", "layers"), [(True, 6), (False, 12)])
def test_the_attentions_are_one_or_two(shared, layers):
    parameters = dict(intent(shared=shared).named_parameters())
    assert len(parameters) == 1 + layers


@pytest.mark.parametrize(("detach", "moved"), [(False, [1, 2, 3]), (True, [3])])
def test_detached_cohorts_leave_their_items_alone(detach, moved):
    module = intent(detach=detach)
    state = module(GENERATED, history(H_ENC), torch.tensor([0]))
    module.score_items(torch.tensor([3]), state)[0, 0].backward()
    assert module.items.weight.grad.abs().sum(1).nonzero().flatten().tolist() == moved
