"""NIFDIEN on fake data: the equations by hand, the auxiliary loss, what each feature and option reaches."""

from math import exp, log, tanh

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_nif.data import fields
from recbole_nif.errors import UserError
from recbole_nif.model import dien
from recbole_nif.model.dien import NIFDIEN
from recbole_nif.model.layers.recurrent import ATTENTIONAL
from tests.unit.doubles import FakeDataset, fake_batch, fake_config

SETTINGS = {
    "hidden_size": 4,
    "gru_type": "AUGRU",
    "attention_type": "bilinear",
    "attention_mlp_hidden_size": [8, 4],
    "attention_activation": "dice",
    "alpha": 1.0,
    "auxiliary_mlp_hidden_size": [],
    "mlp_hidden_size": [16, 8],
    "mlp_activation": "dice",
    "mlp_batch_norm": False,
    "dropout_prob": 0.0,
    "history": "clicks",
    "history_scene": False,
}
OPTIONS = [
    *({"gru_type": kind} for kind in ATTENTIONAL),
    {"attention_type": "mlp"},
    {"auxiliary_mlp_hidden_size": [6, 3]},
    {"alpha": 0.0},
    {"history": "all_with_label", "history_scene": True},
]


UNUSED = {"allow_unused": True, "materialize_grads": True}


def make_dien(**overrides) -> NIFDIEN:
    torch.manual_seed(0)
    return NIFDIEN(fake_config(**{**SETTINGS, **overrides}), FakeDataset())


def changed(field: str, values: list) -> Interaction:
    batch = fake_batch()
    batch[field] = torch.tensor(values)
    return batch


def simple_dien(monkeypatch, **overrides) -> NIFDIEN:
    """One-dimensional interests; item i is i / 10, and 5 is every sampled item.

    Both GRUs have r = u = 1/2 and n = tanh(x); W e_v = 2 e_v; z = 5 h e; logit = h' + 10 e_v + 100 h' W e_v.
    """
    model = make_dien(embedding_size=1, hidden_size=1, mlp_hidden_size=[], **overrides)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.features.item.tables[0].weight[:, 0] = torch.arange(7) / 10
        model.extractor.input.weight[2, 0] = 1
        model.evolution.input.weight[2, 0] = 1
        model.query.weight[0, 0] = 2
        model.next_item.bilinear.weight[0, 0] = 5
        model.mlp.layers[-1].weight[0, [0, 1, 4]] = torch.tensor([1.0, 10.0, 100.0])
    monkeypatch.setattr(model, "other_items", lambda items: torch.full_like(items, 5))
    return model


def interests_by_hand() -> list[float]:
    h1 = tanh(0.1) / 2
    h2 = h1 / 2 + tanh(0.2) / 2
    return [h1, h2, h2 / 2 + tanh(0.3) / 2]


def test_the_logit_is_that_computed_by_hand(monkeypatch):
    model = simple_dien(monkeypatch).eval()
    h = interests_by_hand()  # the history of row 0 is items 1, 2, 3; its target is item 4
    weights = [exp(0.8 * state) for state in h]
    evolved = 0.0
    for state, weight in zip(h, weights, strict=True):
        update = weight / sum(weights) / 2
        evolved = (1 - update) * evolved + update * tanh(state)
    logits = model(fake_batch())
    assert logits[0].item() == pytest.approx(evolved + 4 + 100 * evolved * 0.8, rel=1e-5)
    assert logits[1].item() == pytest.approx(10 * 0.5)  # an empty history: only the target counts


def packed_batch() -> Interaction:
    """The rows of ``fake_batch``, whose histories are now prefixes of two windows with later events."""
    batch = fake_batch()
    shared = {
        fields.HISTORY_ITEM: torch.tensor([[1, 2, 3, 4], [6, 2, 0, 0]]),
        fields.HISTORY_LABEL: torch.tensor([[2, 2, 1, 2], [1, 2, 0, 0]]),
        fields.HISTORY_SCENE: torch.tensor([[1, 2, 3, 1], [3, 2, 0, 0]]),
        fields.HISTORY_WINDOW: torch.tensor([1, 0, 1]),
        fields.HISTORY_CUT: torch.tensor([1, 3, 0]),
        fields.HISTORY_OF: torch.tensor([1, 2, 0]),
    }
    batch.update(Interaction(shared))
    return batch


@pytest.mark.parametrize("overrides", OPTIONS)
def test_packed_histories_score_and_learn_as_those_of_single_rows(overrides):
    results = {}
    for encode, batch in (("window", fake_batch()), ("packed", packed_batch())):
        model = make_dien(encode=encode, **overrides)
        logits = model(batch)
        gradients = torch.autograd.grad(model.click_loss(logits, batch), list(model.parameters()), **UNUSED)
        results[encode] = [logits, *gradients]
    for one, other in zip(results["window"], results["packed"], strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("overrides", OPTIONS)
def test_a_packed_row_ignores_what_lies_behind_its_history(overrides):
    model = make_dien(encode="packed", **overrides).eval()
    later = packed_batch()
    later[fields.HISTORY_ITEM] = torch.tensor([[1, 2, 3, 5], [6, 4, 1, 0]])
    later[fields.HISTORY_LABEL] = torch.tensor([[2, 2, 1, 1], [1, 1, 1, 0]])
    later[fields.HISTORY_SCENE] = torch.tensor([[1, 2, 3, 3], [3, 1, 1, 0]])
    assert torch.equal(model(later), model(packed_batch()))


def test_a_packed_state_scores_many_candidates():
    model = make_dien(encode="packed").eval()
    candidates = Interaction({"item_id": torch.tensor([1, 2, 3, 4]), "hour": torch.tensor([1, 1, 2, 3])})
    rows = torch.tensor([2, 0, 0, 1])
    packed = model.score(model.encode_user(packed_batch()), candidates, rows)
    alone = make_dien(encode="window").eval()
    assert torch.allclose(packed, alone.score(alone.encode_user(fake_batch()), candidates, rows), atol=1e-6)


def test_packed_windows_have_one_auxiliary_loss_each(monkeypatch):
    h1, h2, h3 = interests_by_hand()
    pairs = [(h1, 0.2), (h2, 0.3), (h3, 0.4), (tanh(0.6) / 2, 0.2)]
    losses = [loss_by_hand(5 * h * item, 1) + loss_by_hand(5 * h * 0.5, 0) for h, item in pairs]
    terms = simple_dien(monkeypatch, encode="packed").loss_terms(packed_batch())
    assert terms["aux"].item() == pytest.approx(sum(losses) / 8, rel=1e-5)


def loss_by_hand(z: float, label: int) -> float:
    return log(1 + exp(-z if label else z))


def test_the_auxiliary_loss_is_that_computed_by_hand(monkeypatch):
    h1, h2, _ = interests_by_hand()
    pairs = [loss_by_hand(5 * h1 * 0.2, 1), loss_by_hand(5 * h1 * 0.5, 0)]
    pairs += [loss_by_hand(5 * h2 * 0.3, 1), loss_by_hand(5 * h2 * 0.5, 0)]
    terms = simple_dien(monkeypatch, alpha=0.5).loss_terms(fake_batch())
    assert list(terms) == ["bce", "aux"]
    assert terms["aux"].item() == pytest.approx(0.5 * sum(pairs) / 4, rel=1e-5)


@pytest.mark.parametrize("history", ["all", "all_with_label"])
def test_of_events_that_may_be_no_clicks_only_a_click_is_to_be_predicted(monkeypatch, history):
    h1, _, _ = interests_by_hand()  # labels of row 0: clicked, clicked, not clicked
    model = simple_dien(monkeypatch, history=history)
    expected = (loss_by_hand(5 * h1 * 0.2, 1) + loss_by_hand(5 * h1 * 0.5, 0)) / 2
    assert model.loss_terms(fake_batch())["aux"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("overrides", OPTIONS)
def test_computing_the_pairs_only_equals_computing_every_position(overrides, monkeypatch):
    if overrides.get("alpha") == 0.0:
        return
    model = make_dien(**overrides)
    monkeypatch.setattr(model, "other_items", lambda items: 1 + items % 6)
    packed = model.loss_terms(fake_batch())["aux"]
    monkeypatch.setattr(dien, "positions_of", lambda mask: (torch.arange(mask.numel()), mask.reshape(-1)))
    assert model.loss_terms(fake_batch())["aux"].item() == pytest.approx(packed.item(), rel=1e-5)


def test_histories_too_short_for_a_pair_have_no_auxiliary_loss():
    batch = changed("item_id_list", [[1, 0], [0, 0], [6, 0]])
    terms = make_dien().loss_terms(batch)
    assert terms["aux"].item() == 0
    sum(terms.values()).backward()


def test_the_auxiliary_loss_reads_the_history_alone():
    model = make_dien()

    def aux(batch):
        torch.manual_seed(5)
        return model.loss_terms(batch)["aux"].item()

    expected = aux(fake_batch())
    for field, values in (("item_id", [1, 6, 2]), ("label", [0.0, 1.0, 0.0]), ("user_id", [4, 4, 4])):
        assert aux(changed(field, values)) == expected
    assert aux(changed("item_id_list", [[1, 2, 4], [0, 0, 0], [6, 0, 0]])) != expected


def test_a_sampled_item_is_any_but_the_clicked_one():
    items = torch.arange(1, 7).repeat(500)
    drawn = make_dien().other_items(items)
    for item in range(1, 7):
        assert set(drawn[items == item].tolist()) == set(range(1, 7)) - {item}


def test_the_global_seed_makes_the_loss_reproducible():
    model = make_dien()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(model.calculate_loss(fake_batch()).item())
    assert losses[0] == losses[1] != losses[2]


def test_evaluation_and_alpha_zero_have_no_auxiliary_loss():
    assert list(make_dien().eval().loss_terms(fake_batch())) == ["bce"]
    model = make_dien(alpha=0.0)
    assert list(model.loss_terms(fake_batch())) == ["bce"]
    assert model.next_item is None


@pytest.mark.parametrize("overrides", OPTIONS)
def test_every_option_trains_all_its_parameters(overrides):
    model = make_dien(**overrides)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss = model.calculate_loss(fake_batch())
    loss.backward()
    optimizer.step()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.eq(0).all() or not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("overrides", OPTIONS)
def test_a_row_is_scored_alone_as_in_its_batch(overrides):
    model = make_dien(**overrides)
    model(fake_batch())  # running averages off their start
    model.eval()
    together = model(fake_batch())
    for row in range(3):
        assert torch.allclose(model.predict(fake_batch()[row : row + 1]), together[row].sigmoid(), atol=1e-6)


@pytest.mark.parametrize("overrides", OPTIONS)
def test_padding_may_stand_anywhere_and_any_number_of_times(overrides):
    model = make_dien(**overrides).eval()
    moved = changed("item_id_list", [[1, 2, 0, 3, 0], [0, 0, 0, 0, 0], [0, 6, 0, 0, 0]])
    moved["label_list"] = torch.tensor([[2, 2, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]])
    moved["scene_list"] = torch.tensor([[1, 2, 0, 3, 0], [0, 0, 0, 0, 0], [0, 3, 0, 0, 0]])
    assert torch.allclose(model(moved), model(fake_batch()), atol=1e-6)


def test_the_order_of_the_history_matters():
    model = make_dien().eval()
    turned = model(changed("item_id_list", [[3, 2, 1], [0, 0, 0], [6, 0, 0]]))
    assert (turned - model(fake_batch())).abs().gt(1e-6).tolist() == [True, False, False]


def test_a_user_encoded_once_scores_many_candidates():
    model = make_dien().eval()
    state = model.encode_user(fake_batch())
    candidates = Interaction({"item_id": torch.tensor([1, 2, 3, 4]), "hour": torch.tensor([1, 1, 2, 3])})
    scores = model.score(state, candidates, rows=torch.tensor([2, 0, 0, 1]))
    assert scores.shape == (4,)
    for place, row in enumerate([2, 0, 0, 1]):
        alone = fake_batch()[row : row + 1]
        alone["item_id"] = candidates["item_id"][place : place + 1]
        alone["hour"] = candidates["hour"][place : place + 1]
        assert torch.allclose(model(alone), scores[place], atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "field", "values", "touched"),
    [
        ({}, "user_id", [4, 2, 3], [0]),
        ({}, "hour", [1, 3, 1], [2]),
        ({}, "item_id", [4, 2, 1], [1]),
        ({}, "item_id_list", [[1, 2, 4], [0, 0, 0], [6, 0, 0]], [0]),
        ({}, "label", [0.0, 1.0, 0.0], []),
        ({}, "label_list", [[1, 1, 1]] * 3, []),
        ({"history": "all_with_label"}, "label_list", [[2, 1, 1], [0, 0, 0], [1, 0, 0]], [0]),
        ({"history_scene": True}, "scene_list", [[1, 3, 3], [0, 0, 0], [3, 0, 0]], [0]),
    ],
)
def test_each_feature_reaches_the_logit_of_its_row_only(overrides, field, values, touched):
    model = make_dien(**overrides).eval()
    difference = (model(changed(field, values)) - model(fake_batch())).abs()
    assert difference.gt(1e-7).nonzero().flatten().tolist() == touched


def test_mixed_precision_stays_close_to_full_precision():
    model = make_dien()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.calculate_loss(fake_batch()).backward()
        half = model.eval().predict(fake_batch())
    assert half.dtype == torch.float32
    assert torch.allclose(half, model.predict(fake_batch()), atol=0.02)


def test_a_few_steps_fit_the_batch():
    model = make_dien()
    optimizer = torch.optim.Adam(model.param_groups(learning_rate=0.02, weight_decay=0.0))
    first = model.loss_terms(fake_batch())["bce"].item()
    for _ in range(60):
        optimizer.zero_grad()
        model.calculate_loss(fake_batch()).backward()
        optimizer.step()
    assert model.loss_terms(fake_batch())["bce"].item() < 0.3 * first


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"gru_type": "GRU"}, "There is no gru_type 'GRU'; choose one of AUGRU, AGRU, AIGRU."),
        ({"attention_type": "dot"}, "attention_type is 'dot': use bilinear or mlp."),
    ],
)
def test_a_wrong_name_is_told_in_one_sentence(overrides, sentence):
    with pytest.raises(UserError, match=sentence):
        make_dien(**overrides)
