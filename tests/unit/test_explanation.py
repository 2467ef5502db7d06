"""What models tell of their scores is what their forward pass uses."""

import pytest
import torch

from recbole_nif.data.fields import HISTORY_CUT, HISTORY_OF, MOVELINE_CUT
from recbole_nif.model.base import CTRModel
from recbole_nif.model.genci.history_encoder import Histories
from recbole_nif.model.layers.multihead_target_attention import MultiHeadTargetAttention
from recbole_nif.model.layers.sphere import unit
from recbole_nif.model.layers.transformer import Attention
from tests.unit.amen_doubles import tiny_amen, tiny_batch
from tests.unit.doubles import fake_batch
from tests.unit.genci_doubles import CODES, history_batch, tiny_genci
from tests.unit.test_dien import make_dien
from tests.unit.test_din import make_din


def with_weights(attention: Attention, weights, keys_values):
    """The output of an attention of one head: its values, summed by the weights [N, q, n]."""
    return attention.output(weights @ keys_values[:, 1, 0])


@pytest.mark.parametrize("mask", ["none", "bool", "bias"])
def test_attention_weights_reproduce_the_output(mask):
    torch.manual_seed(0)
    attention = Attention(width=6, n_heads=1)
    x, keys_values = torch.randn(2, 3, 6), attention.keys_values(torch.randn(2, 4, 6))
    given = {
        "none": None,
        "bool": (torch.rand(2, 1, 3, 4) > 0.4) | (torch.arange(4) == 0),
        "bias": torch.randn(2, 1, 3, 4),
    }[mask]
    weights = attention.weights(x, keys_values, given)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3))
    assert torch.allclose(
        with_weights(attention, weights, keys_values), attention(x, keys_values, given), atol=1e-6
    )


def test_attention_weights_are_the_mean_of_the_heads():
    torch.manual_seed(0)
    both = Attention(width=6, n_heads=2)
    x, memory = torch.randn(1, 2, 6), torch.randn(1, 3, 6)
    scores = [
        (both.query(x)[..., part] @ both.key_value(memory)[..., part].transpose(1, 2) / 3**0.5).softmax(-1)
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert torch.allclose(both.weights(x, both.keys_values(memory), None), sum(scores) / 2, atol=1e-6)


def test_target_attention_weights_reproduce_the_output_and_see_nothing_of_nothing():
    torch.manual_seed(0)
    attention = MultiHeadTargetAttention(width=4, n_heads=1, length=5)
    targets, keys_values = torch.randn(2, 3, 4), attention.keys_values(torch.randn(2, 5, 4))
    visible = torch.arange(5) < torch.tensor([[5, 2, 0], [1, 3, 4]]).unsqueeze(-1)
    weights = attention.weights(targets, keys_values, visible)
    seen = visible.any(-1, keepdim=True)
    expected = attention(targets, keys_values, visible)
    assert (weights[~visible] == 0).all()
    assert torch.allclose(with_weights(attention, weights, keys_values) * seen, expected, atol=1e-6)


def test_din_tells_the_weights_of_its_sum():
    model = make_din().eval()
    batch = fake_batch()
    state, target = model.encode_user(batch), model.embed_items(batch["item_id"])
    (attention,) = model.explain(batch).attentions
    assert attention.length.tolist() == [3, 0, 1]
    pooled = (attention.weight.unsqueeze(-1) * state.history).sum(1)
    assert torch.allclose(pooled, model.attention(target, state.history, state.mask), atol=1e-6)


def test_dien_tells_its_attention():
    model = make_dien().eval()
    (attention,) = model.explain(fake_batch()).attentions
    assert attention.length.tolist() == [3, 0, 1]
    assert attention.weight.sum(1).tolist() == pytest.approx([1, 0, 1])


def test_amen_tells_the_weights_of_its_three_attentions_and_of_its_flow():
    model, batch = tiny_amen(n_heads=1), tiny_batch()
    state, target = model.encode_user(batch), model._target(batch["item_id"])
    reading, snapshot = model.read(target, state.moveline), state.moveline
    told = model.explain(batch)
    history, scene, item = told.attentions
    assert torch.equal(item.length, batch[MOVELINE_CUT])
    pooled = (history.weight.unsqueeze(-1) * state.history).sum(1)
    assert torch.allclose(
        pooled, model.history_attention(target.features, state.history, state.mask), atol=1e-6
    )
    spaces = (
        (scene, model.scene_space, snapshot.scene_memory, reading.scene),
        (item, model.item_space, snapshot.item_memory, reading.item),
    )
    for told_of, space, memory, read in spaces:
        by_row = memory[snapshot.window]
        found = with_weights(space.attention, told_of.weight.unsqueeze(1), by_row).squeeze(1)
        found = found * (told_of.length > 0).unsqueeze(1)
        assert torch.allclose(found, read, atol=1e-5)
    aligned, _ = model.alignment(unit(snapshot.flow), target.vector)
    found = model.flow_attention.value((told.flow.weight.unsqueeze(1) @ aligned).squeeze(1))
    assert torch.allclose(found, reading.flow, atol=1e-5)
    assert torch.equal(told.flow.vectors, unit(snapshot.flow))
    assert torch.equal(told.flow.items, model.generator.item_table())


def test_amen_without_a_part_tells_nothing_of_it():
    told = tiny_amen(use_nif=False, use_scene_space=False, tsp_mode="logit").explain(tiny_batch())
    assert [attention.name for attention in told.attentions] == ["attention", "item space"]
    assert told.flow is None
    assert tiny_amen(use_sam=False).explain(tiny_batch()).flow.weight.sum(1).tolist() == pytest.approx(
        [1, 1, 1]
    )


@pytest.mark.parametrize("encode", ["packed", "window"])
def test_genci_tells_its_cohorts_and_how_they_read_the_history(encode):
    model, batch = tiny_genci(encode=encode, attention_heads=1), history_batch(encode)
    told, state = model.explain(batch), model.encode_user(batch)
    intent, own = state.intent[state.history], model.items(batch["item_id"])
    read = model.short_term.read
    found = with_weights(read, told.cohorts.weight.unsqueeze(1), intent).squeeze(1)
    assert torch.allclose(found, told.vectors["short-term intent"], atol=1e-6)
    assert torch.equal(told.vectors["target"], own)
    assert torch.equal(told.vectors["long-term intent"], state.long_term[state.history])
    assert torch.equal(told.cohorts.codes, model.generated(batch, 3).codes[:, 0][batch[HISTORY_OF]])
    assert torch.equal(told.cohorts.item_codes, CODES[:, :-1])
    (history,) = told.attentions
    assert torch.equal(history.length, batch[HISTORY_CUT][batch[HISTORY_OF]])
    assert history.weight.sum(1).tolist() == pytest.approx([1, 1, 1, 0], abs=1e-6)
    behind = torch.arange(history.weight.shape[1]) >= history.length.unsqueeze(1)
    assert (history.weight[behind] == 0).all()


def test_genci_refines_its_cohorts_by_the_weights_it_tells():
    model, batch = tiny_genci(attention_heads=1), history_batch()
    histories = Histories.of(batch)
    encoded = model.encoder(histories)
    codes = model.generated(batch, 3).codes[:, 0]
    weights = model.short_term.history_weights(codes, encoded, histories.window)
    refine = model.short_term.refine
    refined = with_weights(refine, weights, refine.keys_values(encoded.states)[histories.window])
    cohorts = model.short_term.cohorts.table.mean(model.items.weight, codes)
    assert torch.allclose(refined, model.short_term._refined(cohorts, encoded, histories.window), atol=1e-6)


@pytest.mark.parametrize(("form", "weighs"), [("mean", False), ("target", True)])
def test_genci_in_another_form_tells_less(form, weighs):
    told = tiny_genci(intent=form).explain(history_batch())
    assert told.attentions == ()
    assert (told.cohorts.weight is not None) == weighs
    assert tiny_genci(use_st_intent=False).explain(history_batch()).cohorts is None


def test_a_model_tells_nothing_by_default():
    told = CTRModel.explain(None, None)
    assert told.attentions == () and told.flow is None and told.cohorts is None and told.vectors == {}
