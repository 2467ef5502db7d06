"""AMEN: the hand-over between the stages, stage 2, and its configuration."""

import copy

import pytest
import torch
import yaml

from recbole_nif.data import fields
from recbole_nif.errors import UserError
from recbole_nif.model.amen.spaces import SceneSpace
from recbole_nif.model.amen.state import Reading
from recbole_nif.model.layers.embedding import SetEmbedding
from recbole_nif.model.layers.sphere import unit
from tests.unit.amen_doubles import (
    PROPS,
    checksum,
    pair_batch,
    tiny_amen,
    tiny_batch,
    train_step,
    window_batch,
)

# -- between the stages


def test_start_finetune_copies_tables_encoder_and_projection_and_fills_item_vectors():
    model = tiny_amen(finetune=False)
    assert checksum(model.moveline) != checksum(model.generator.moveline)
    model.start_finetune()
    for name, value in model.generator.moveline.state_dict().items():
        assert torch.equal(model.moveline.state_dict()[name], value), name
    assert torch.equal(model.item_vectors.weight, model.generator.item_table())


def test_the_frozen_generator_is_unchanged_by_training_and_stays_in_evaluation_mode():
    model, batch = tiny_amen(), pair_batch()
    before, moveline = checksum(model.generator), checksum(model.moveline)
    model.train()
    assert not model.generator.training and model.moveline.training
    train_step(model, batch)
    assert checksum(model.generator) == before
    assert all(parameter.grad is None for parameter in model.generator.parameters())
    assert checksum(model.moveline) != moveline


def test_an_unfrozen_generator_is_trained_on_through_the_flow():
    model = tiny_amen(freeze_generator=False)
    before = checksum(model.generator.decoder)
    train_step(model, pair_batch())
    assert checksum(model.generator.decoder) != before


def test_copied_parts_have_their_own_learning_rate_and_every_parameter_is_in_one_group():
    model = tiny_amen()
    new, copied = model.param_groups(0.01, 0.1)
    assert (new["lr"], copied["lr"], copied["weight_decay"]) == (0.01, 0.0005, 0.1)
    assert {id(p) for p in copied["params"]} == {id(p) for p in model.moveline.parameters()}
    everything = [id(p) for group in (new, copied) for p in group["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert len(tiny_amen(finetune=False).param_groups(0.01, 0.0)) == 1


def test_stage_1_item_vectors_can_be_frozen_trained_or_left_out():
    trained = tiny_amen(stage1_item_vectors="trainable")
    before = trained.item_vectors.weight.clone()
    train_step(trained, tiny_batch())
    assert not torch.equal(trained.item_vectors.weight, before)
    frozen = tiny_amen()
    train_step(frozen, tiny_batch())
    assert torch.equal(frozen.item_vectors.weight, frozen.generator.item_table())
    assert tiny_amen(stage1_item_vectors="none").item_vectors is None


def test_a_cached_flow_replaces_the_generator_exactly():
    model, batch = tiny_amen(), tiny_batch()
    expected = model(batch)
    batch[fields.FLOW] = model.generator.flow(batch).detach()
    assert torch.allclose(model(batch), expected, atol=1e-6)
    batch[fields.FLOW] = torch.zeros(3, 3, 8)
    assert not torch.allclose(model(batch), expected, atol=1e-4)


def test_training_rows_without_their_flow_learn_from_the_rest_and_scores_always_have_it():
    model, batch, other = tiny_amen(flow_dropout_prob=1.0, lambda_align=0.0), tiny_batch(), tiny_batch()
    batch[fields.FLOW], other[fields.FLOW] = torch.randn(3, 3, 8), torch.randn(3, 3, 8)

    def logits(rows):
        torch.manual_seed(0)  # of the other dropouts
        return model(rows)

    assert not torch.allclose(logits(batch), logits(other), atol=1e-4)
    model.train()
    assert torch.equal(logits(batch), logits(other))
    model.flow_dropout = 0.0
    assert not torch.allclose(logits(batch), logits(other), atol=1e-4)


def test_a_share_of_the_rows_does_without_its_flow():
    reading = Reading(None, None, flow=torch.ones(4, 2), match=torch.ones(4, 3), summary=torch.ones(4, 2))
    hidden = reading.without_flow(torch.tensor([[True], [False], [True], [False]]))
    assert hidden.flow.tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert hidden.match.sum(1).tolist() == [0, 3, 0, 3] and hidden.summary is reading.summary


def test_match_scores_are_exact_for_stage_1_vectors():
    model, batch = tiny_amen(), tiny_batch()
    flow = unit(model.generator.flow(batch))
    target = model.generator.item_table()[batch["item_id"]]
    cosine = torch.einsum("nkd,nd->nk", flow, target)
    state = model.encode_user(batch)
    reading = model.read(model._target(batch["item_id"]), state.moveline)
    expected = torch.stack([cosine.amax(1), cosine.mean(1), cosine[:, 0]], dim=1)
    assert torch.allclose(reading.match[:, 3:], expected, atol=1e-5)
    assert torch.allclose(
        reading.match[:, :3], expected, atol=1e-5
    )  # at the start W_e is W_t, SAM the identity


# -- stage 2


def test_loss_terms_are_weighted_and_partners_count_in_tsp_only():
    model, batch = tiny_amen(lambda_tsp=0.3, lambda_align=0.2), pair_batch()
    terms = model.loss_terms(batch)
    assert list(terms) == ["bce", "tsp", "align"]
    samples = torch.tensor([0, 2])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        model(batch)[samples], batch["label"][samples]
    )
    assert terms["bce"].item() == pytest.approx(expected.item(), rel=1e-5)
    batch["label"][1] = 1.0  # the partner's label: BCE and alignment do not see it
    batch["item_id"][1] = 6 - batch["item_id"][1]  # and its item
    changed = model.loss_terms(batch)
    assert changed["bce"] == terms["bce"] and changed["align"] == terms["align"]
    assert changed["tsp"] != terms["tsp"]
    assert list(model.loss_terms(tiny_batch())) == ["bce", "align"]


@pytest.mark.parametrize(
    "options",
    [
        {"use_nif": False},
        {"use_sam": False},
        {"use_scene_space": False},
        {"use_item_space": False},
        {"use_scene_space": False, "use_item_space": False, "use_nif": False},
        {"moveline_with_items": False},
        {"init_from_generator": False},
        {"stage1_item_vectors": "none"},
        {"flow_len": 1},
        {"history": "clicks"},
        {"tsp_mode": "none"},
        {"tsp_mode": "shift", "use_nif": False},
        {"tsp_mode": "both", "moveline_encoder": "gru"},
        {"mlp_activation": "dice"},
        {"cross_layers": 0},
        {"flow_targets": "semantic"},
    ],
)
def test_every_ablation_trains_and_predicts(options):
    model, batch = tiny_amen(**options), pair_batch()
    if options.get("history") == "clicks":
        del batch.interaction["label_list"]
    train_step(model.train(), batch, rate=0.01)
    probability = model.eval().predict(batch)
    assert probability.shape == (3,) and probability.isfinite().all()
    assert ("tsp" in model.loss_terms(batch)) == (options.get("tsp_mode") != "none")


def test_without_anything_from_stage_1_there_is_no_stage_1():
    model = tiny_amen(use_nif=False, init_from_generator=False, stage1_item_vectors="none")
    assert model.generator is None and model.stages == ("finetune",)
    assert tiny_amen(use_nif=False).stages == ("pretrain", "finetune")


def test_with_many_scenes_the_target_has_only_its_own():
    torch.manual_seed(0)
    scenes = SetEmbedding(members=torch.tensor([[0], [1], [2]]), n_elements=3, embedding_size=4)
    options = {"item_dim": 4, "scene_dim": 4, "width": 8, "n_heads": 2, "length": 6}
    features, own = torch.randn(2, 4), torch.tensor([1, 2])
    many = SceneSpace(n_scenes=2001, **options)
    assert torch.allclose(many.target(features, scenes, own), many.output(scenes(own)))
    mixture = SceneSpace(n_scenes=2000, **options)
    mixture.query.weight.data.zero_()
    mixture.query.bias.data.zero_()  # equal scores: the mean of all scenes, padding left out
    mean = scenes.table.weight[1:].mean(0)
    assert torch.allclose(mixture.target(features, scenes, own)[0], mixture.output(mean), atol=1e-6)


def test_a_copy_predicts_the_same():
    model, batch = tiny_amen(), tiny_batch()
    assert torch.equal(copy.deepcopy(model).predict(batch), model.predict(batch))


def test_mixed_precision_gives_finite_losses_in_both_stages():
    model, batch = tiny_amen(tsp_mode="both").train(), pair_batch()
    generator = tiny_amen(finetune=False).generator.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = model.loss_terms(batch) | generator.loss_terms(window_batch(n_hard=2))
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    sum(terms.values()).backward()


# -- configuration


AMENS_FORMS = ("moveline_encoder", "flow_decoding", "regularizer_form", "div_form", "vel_target", "anchor",
               "stage1_item_vectors", "tsp_mode")  # fmt: skip


@pytest.mark.parametrize("key", AMENS_FORMS)
def test_an_unknown_form_is_named(key):
    with pytest.raises(UserError, match=f"{key} is 'nonsense': use one of"):
        tiny_amen(**{key: "nonsense"})


def test_every_key_of_the_props_has_a_comment():
    lines = [
        line for line in PROPS.read_text(encoding="utf-8").splitlines() if ":" in line and line[0] != "#"
    ]
    assert len(lines) == len(yaml.safe_load(PROPS.read_text(encoding="utf-8")))
    assert all("# (" in line for line in lines)


def test_contradictory_options_are_refused_with_the_remedy():
    with pytest.raises(UserError, match="hidden_size 8 must be a multiple of n_heads"):
        tiny_amen(n_heads=3)
    with pytest.raises(UserError, match="tsp_mode both compares flows of one generator"):
        tiny_amen(tsp_mode="both", generator_cross_fit="kfold")
    with pytest.raises(UserError, match="tsp_mode shift needs one of use_scene_space"):
        tiny_amen(tsp_mode="shift", use_scene_space=False, use_item_space=False, use_nif=False)
    with pytest.raises(UserError, match="moveline_encoder: gru needs n_layers of at least 1"):
        tiny_amen(moveline_encoder="gru", n_layers=0)
    with pytest.raises(UserError, match="div_form logdet does not go with regularizer_form geodesic"):
        tiny_amen(div_form="logdet")
