"""GenCI on fake data: losses, gradients, sharing, every switch; its parts have tests of their own."""

import copy
import dataclasses
import math

import pytest
import torch
import yaml

from recbole_nif.config_choices import CHOICES
from recbole_nif.data import fields
from recbole_nif.errors import UserError
from recbole_nif.model.genci.history_encoder import Histories
from tests.unit.genci_doubles import CODES, PROPS, history_batch, tiny_genci, tiny_ids

SWITCHES = [
    {},
    {"encoder_input": "tokens"},
    {"encode": "window"},
    {"encode": "window", "encoder_input": "tokens"},
    {"history": "all_with_label"},
    {"use_st_intent": False},
    {"use_lt_intent": False},
    {"use_sr": False},
    {"use_ntp": False},
    {"intent": "mean"},
    {"intent": "target"},
    {"ntp_targets": "all", "ntp_softmax": "all", "decoding": "free", "cohort_mean": "padded"},
    {"beam_width": 3},
    {"ntp_detach_encoder": True, "detach_cohorts": True, "sr_detach_teacher": False},
    {"share_cross_attention": False, "attention_heads": 4},
    {"sr_teacher": "pretrained"},
    {"hidden_dropout_prob": 0.2},
]


def batch_for(overrides, **changes):
    batch = history_batch(
        overrides.get("encode", "packed"), labels=overrides.get("history") == "all_with_label"
    )
    for name, values in changes.items():
        batch[name] = torch.tensor(values)
    return batch


def gradients(model, term: str, batch) -> set[str]:
    """The names of the parameters that a loss term reaches."""
    model.zero_grad(set_to_none=True)
    model.loss_terms(batch)[term].backward()
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


def parts(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("overrides", SWITCHES, ids=str)
def test_every_switch_trains_a_step_and_lowers_its_loss(overrides):
    model, batch = tiny_genci(**overrides), batch_for(overrides)
    before = model.calculate_loss(batch)
    model.start_finetune()
    optimizer = torch.optim.Adam(model.train().param_groups(0.01, 0.0))
    for _ in range(5):
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        optimizer.step()
    model.eval()
    assert model.calculate_loss(batch) < before
    assert ((probabilities := model.predict(batch)) > 0).all() and (probabilities < 1).all()


# -- sharing


@pytest.mark.parametrize(
    "overrides", [{}, {"encode": "window"}, {"intent": "mean"}, {"beam_width": 2}], ids=str
)
def test_a_user_encoded_once_scores_candidates_as_if_encoded_for_each(overrides):
    model, batch = tiny_genci(**overrides), batch_for(overrides)
    state, rows = model.encode_user(batch), torch.tensor([2, 0, 0, 3])
    candidates = {"item_id": torch.tensor([1, 2, 3, 4]), "hour": torch.tensor([1, 1, 2, 3])}
    scores = model.score(state, candidates, rows)
    shared = (fields.HISTORY_ITEM, fields.HISTORY_WINDOW, fields.HISTORY_CUT)
    for place, row in enumerate(rows.tolist()):
        alone = {
            name: batch[name] if name in shared else batch[name][row : row + 1] for name in batch.columns
        }
        alone[fields.HISTORY_OF] = batch[fields.HISTORY_OF][row : row + 1]
        alone |= {name: values[place : place + 1] for name, values in candidates.items()}
        assert torch.allclose(model(alone), scores[place], atol=1e-5)
    assert len(set(scores.tolist())) == 4


def test_rows_with_one_history_score_as_with_histories_of_their_own():
    model, batch = tiny_genci(), history_batch()
    before = model(batch)
    batch[fields.HISTORY_OF] = torch.arange(4)
    batch.interaction[fields.HISTORY_WINDOW] = torch.tensor([0, 0, 0, 1])
    batch.interaction[fields.HISTORY_CUT] = torch.tensor([4, 2, 2, 0])
    assert torch.allclose(model(batch), before, atol=1e-6)


@pytest.mark.parametrize("form", ["window", "packed"])
def test_a_user_without_clicks_has_a_probability_and_gradients(form):
    model, batch = tiny_genci(encode=form), history_batch(form)
    batch[fields.HISTORY_CUT].zero_()
    batch[fields.HISTORY_ITEM].zero_()
    names = gradients(model, "bce", batch)
    assert model.predict(batch).isfinite().all()
    assert "encoder.no_history" in names and not any(name.startswith("encoder.stack") for name in names)


def test_what_a_row_is_does_not_reach_its_own_score_by_its_label():
    model, batch = tiny_genci(), history_batch()
    before = model(batch)
    batch["label"] = 1 - batch["label"]
    assert torch.equal(model(batch), before)


def test_a_copy_predicts_the_same_and_weights_load():
    model, batch = tiny_genci(), history_batch()
    assert torch.equal(copy.deepcopy(model).predict(batch), model.predict(batch))
    other = tiny_genci(seed=1)
    assert not torch.equal(other.predict(batch), model.predict(batch))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.predict(batch), model.predict(batch))


# -- next-token prediction


def forced(model, batch) -> tuple[list, list]:
    """The rows and codes that the decoder is trained on."""
    seen = {}
    loss, source = model.tokens.loss, model.decoder.source
    model.tokens.loss = lambda states, codes, weight: (
        seen.update(codes=codes.tolist()) or loss(states, codes, weight)
    )
    histories = Histories.of(batch)
    encoded = model.encoder(histories)
    source = model._source_of_rows(histories, encoded)

    class Watched(type(source)):
        def select(self, rows):
            seen.update(history=histories.of_row[rows].tolist())
            return super().select(rows)

    model._next_token_loss(batch, histories, encoded, Watched(*source))
    return seen["history"], seen["codes"]


@pytest.mark.parametrize(
    ("targets", "histories", "items"),
    [("clicked", [0, 1, 2], [5, 6, 1]), ("all", [0, 1, 1, 2], [5, 3, 6, 1])],
)
def test_targets_are_the_codes_of_the_rows_items(targets, histories, items):
    rows, codes = forced(tiny_genci(ntp_targets=targets), history_batch())
    assert rows == histories
    assert codes == CODES[items].tolist()


def test_items_without_an_id_are_no_targets():
    codes = CODES.clone()
    codes[[5, 6]] = -1
    rows, targets = forced(tiny_genci(ids=tiny_ids(codes)), history_batch())
    assert (rows, targets) == ([2], CODES[[1]].tolist())


def test_a_batch_without_targets_has_no_next_token_loss():
    terms = tiny_genci().loss_terms(batch_for({}, label=[0.0, 0.0, 0.0, 0.0]))
    assert terms["ntp"].item() == 0


@pytest.mark.parametrize(("softmax", "options"), [("level", [2, 3, 3, 2]), ("all", [11] * 4)])
def test_its_loss_is_the_mean_over_rows_and_levels(softmax, options):
    model = tiny_genci(ntp_softmax=softmax)
    model.tokens.table.weight.data.zero_()
    uniform = torch.tensor(options).log().mean()  # zero embeddings make every option as likely
    loss = model.tokens.loss(torch.randn(3, 4, 8), CODES[1:4])
    assert loss.item() == pytest.approx(uniform.item(), rel=1e-5)
    weighted = model.tokens.loss(torch.randn(3, 4, 8), CODES[1:4], torch.tensor([1.0, 0.0, 1.0]))
    assert weighted.item() == pytest.approx(uniform.item(), rel=1e-5)


def test_the_decoder_learns_from_next_token_prediction_alone():
    model, batch = tiny_genci(), history_batch()
    assert "decoder" not in parts(gradients(model, "bce", batch))
    assert {"encoder", "decoder", "start"} <= parts(gradients(model, "ntp", batch))


def test_a_detached_encoder_learns_from_clicks_alone():
    model, batch = tiny_genci(ntp_detach_encoder=True), history_batch()
    reached = gradients(model, "ntp", batch)
    assert not any(name.startswith(("encoder.stack", "encoder.no_history")) for name in reached)
    assert any(name.startswith("encoder.stack") for name in gradients(model, "bce", batch))


def test_hits_compare_generated_codes_with_the_rows_own_item():
    model, batch = tiny_genci(), history_batch()
    generated = model.generated(batch).codes[:, 0, :3]
    hits = model.code_hits(batch)
    for row, (history, item) in enumerate(zip([0, 1, 1, 2], [5, 3, 6, 1], strict=True)):
        assert hits[row].tolist() == (generated[history] == CODES[item, :3]).tolist()


# -- relatedness to the teacher


def test_the_teacher_is_drawn_to_labels_and_the_model_to_the_teacher():
    model, batch = tiny_genci(lambda_sr=3.0), history_batch()
    logits, teacher, labels = model(batch), model.teacher(batch), batch["label"]
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = 3 * (bce(logits, teacher.sigmoid()) + bce(teacher, labels))
    assert model.loss_terms(batch)["sr"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_only_an_attached_teacher_is_pushed_to_larger_logits_by_the_model():
    own = {}
    for detach in (True, False):
        model, batch = tiny_genci(lambda_sr=1.0, sr_detach_teacher=detach), history_batch()
        seen = []
        model.teacher.register_forward_hook(lambda _, __, logits, seen=seen: seen.append(logits))
        logits, term = model(batch).detach(), model.loss_terms(batch)["sr"]
        (own[detach],) = torch.autograd.grad(term, seen[-1])
    probability = seen[-1].detach().sigmoid()
    assert torch.allclose(own[True], (probability - batch["label"]) / 4, atol=1e-6)
    push = -logits * probability * (1 - probability) / 4
    assert torch.allclose(own[False] - own[True], push, atol=1e-6)


def test_a_pretrained_teacher_is_frozen_and_only_distils():
    model, batch = tiny_genci(sr_teacher="pretrained", lambda_sr=1.0), history_batch()
    assert model.stages == ("teacher", "finetune")
    model.start_finetune()
    model.train()
    assert not model.teacher.training and "teacher" not in parts(gradients(model, "sr", batch))
    model.eval()
    soft = torch.nn.functional.binary_cross_entropy_with_logits(model(batch), model.teacher(batch).sigmoid())
    assert model.loss_terms(batch)["sr"].item() == pytest.approx(soft.item(), rel=1e-5)


def test_switched_off_parts_are_not_there():
    assert tiny_genci(use_sr=False).teacher is None
    assert tiny_genci(use_st_intent=False).short_term is None
    assert set(tiny_genci(use_ntp=False, use_sr=False).loss_terms(history_batch())) == {"bce"}
    both = tiny_genci().mlp.layers[1].in_features
    assert tiny_genci(use_lt_intent=False).mlp.layers[1].in_features == both - 8


def test_the_network_reads_the_long_term_intent_as_t5_scales_what_its_output_layer_reads():
    batch = history_batch()
    model, plain = tiny_genci(), tiny_genci(scale_lt_intent=False)
    state = model.encode_user(batch)
    smaller = dataclasses.replace(state, long_term=state.long_term / math.sqrt(8))
    assert torch.allclose(model.score(state, batch), plain.score(smaller, batch), atol=1e-6)
    assert (model.score(state, batch) - plain.score(state, batch)).abs().max() > 1e-4


# -- configuration


def test_presets_hold_known_keys_and_legal_values():
    folder = PROPS.parents[1] / "preset"
    known = yaml.safe_load(PROPS.read_text(encoding="utf-8"))
    for name in CHOICES["preset"]:
        if name is not None:
            values = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
            assert values.keys() <= known.keys()
            assert all(value in CHOICES[key] for key, value in values.items() if key in CHOICES)


@pytest.mark.parametrize("key", ["encode", "encoder_input", "intent", "ntp_targets", "sr_teacher"])
def test_an_unknown_form_is_named(key):
    with pytest.raises(UserError, match=f"{key} is 'other'"):
        tiny_genci(**{key: "other"})
