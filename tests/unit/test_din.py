"""NIFDIN on fake data, and what every CTRModel inherits."""

import copy

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_nif.data.fields import ADDED
from recbole_nif.model.din import NIFDIN
from tests.unit.doubles import FakeDataset, fake_batch, fake_config

SETTINGS = {
    "attention_mlp_hidden_size": [8, 4],
    "attention_activation": "dice",
    "attention_softmax": False,
    "cross_layers": 0,
    "mlp_hidden_size": [16, 8],
    "mlp_activation": "dice",
    "mlp_batch_norm": False,
    "dropout_prob": 0.0,
    "history": "clicks",
    "history_scene": False,
}


def make_din(dataset: FakeDataset | None = None, **overrides) -> NIFDIN:
    torch.manual_seed(0)
    return NIFDIN(fake_config(**{**SETTINGS, **overrides}), dataset or FakeDataset())


def changed(field: str, values: list) -> Interaction:
    batch = fake_batch()
    batch[field] = torch.tensor(values)
    return batch


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"attention_softmax": True},
        {"attention_activation": "sigmoid", "mlp_activation": "relu", "mlp_batch_norm": True},
        {"numerical_features": ["price"]},
        {"history": "all_with_label", "history_scene": True},
    ],
)
def test_every_option_trains_all_its_parameters(overrides):
    model = make_din(**overrides)
    loss = model.calculate_loss(fake_batch())
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_the_first_loss_is_near_that_of_a_coin():
    assert make_din().loss_terms(fake_batch())["bce"].item() == pytest.approx(0.693, abs=0.2)


def test_probabilities_keep_one_dimension_even_for_one_row():
    model = make_din().eval()
    assert model.predict(fake_batch()).shape == (3,)
    single = model.predict(fake_batch()[:1])
    assert single.shape == (1,)
    assert 0 < single.item() < 1


def test_a_row_is_scored_alone_as_in_its_batch():
    model = make_din()
    model(fake_batch())  # running averages off their start
    model.eval()
    together = model(fake_batch())
    for row in range(3):
        assert torch.allclose(model(fake_batch()[row : row + 1]), together[row], atol=1e-6)


def test_padding_may_stand_anywhere_and_any_number_of_times():
    model = make_din().eval()
    expected = model(fake_batch())
    moved = changed("item_id_list", [[1, 2, 0, 3, 0], [0, 0, 0, 0, 0], [0, 6, 0, 0, 0]])
    assert torch.allclose(model(moved), expected, atol=1e-6)


def test_a_user_encoded_once_scores_many_candidates():
    model = make_din().eval()
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
    ("field", "values", "touched"),
    [
        ("user_id", [4, 2, 3], [0]),
        ("gender", [1, 1, 1], [1]),
        ("hour", [1, 3, 1], [2]),
        ("item_id", [4, 2, 1], [1]),
        ("item_id_list", [[1, 2, 4], [0, 0, 0], [6, 0, 0]], [0]),
    ],
)
def test_each_feature_reaches_the_logit_of_its_row_only(field, values, touched):
    model = make_din().eval()
    difference = (model(changed(field, values)) - model(fake_batch())).abs()
    assert difference.gt(1e-6).nonzero().flatten().tolist() == touched


@pytest.mark.parametrize(("field", "values"), [("label", [0.0, 1.0, 0.0]), ("label_list", [[1, 1, 1]] * 3)])
def test_labels_are_not_features_of_a_clicks_only_model(field, values):
    model = make_din().eval()
    assert torch.equal(model(changed(field, values)), model(fake_batch()))


@pytest.mark.parametrize(
    ("overrides", "field", "values"),
    [
        ({"history": "all_with_label"}, "label_list", [[2, 1, 1], [0, 0, 0], [1, 0, 0]]),
        ({"history_scene": True}, "scene_list", [[1, 3, 3], [0, 0, 0], [3, 0, 0]]),
    ],
)
def test_the_label_or_scene_of_a_past_item_counts_when_configured(overrides, field, values):
    model = make_din(**overrides).eval()
    difference = (model(changed(field, values)) - model(fake_batch())).abs()
    assert difference.gt(1e-6).nonzero().flatten().tolist() == [0]


def test_rows_added_as_partners_do_not_count_in_the_loss():
    model = make_din().eval()
    batch = changed(ADDED, [False, False, True])
    logits, labels = model(batch), batch["label"]
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits[:2], labels[:2])
    assert model.loss_terms(batch)["bce"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert model.calculate_loss(batch).item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_copy_predicts_the_same():
    model = make_din().eval()
    assert torch.equal(copy.deepcopy(model).predict(fake_batch()), model.predict(fake_batch()))


def test_mixed_precision_stays_close_to_full_precision():
    model = make_din().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model.predict(fake_batch())
    assert half.dtype == torch.float32
    assert torch.allclose(half, model.predict(fake_batch()), atol=0.02)


def test_the_optimizer_group_leaves_out_frozen_parameters():
    model = make_din()
    model.features.requires_grad_(False)
    (group,) = model.param_groups(learning_rate=0.01, weight_decay=0.1)
    assert (group["lr"], group["weight_decay"]) == (0.01, 0.1)
    assert len(group["params"]) == len(list(model.attention.parameters())) + len(list(model.mlp.parameters()))


def test_a_few_steps_fit_the_batch():
    model = make_din()
    optimizer = torch.optim.Adam(model.param_groups(learning_rate=0.02, weight_decay=0.0))
    first = model.calculate_loss(fake_batch()).item()
    for _ in range(60):
        optimizer.zero_grad()
        model.calculate_loss(fake_batch()).backward()
        optimizer.step()
    assert model.calculate_loss(fake_batch()).item() < 0.3 * first
