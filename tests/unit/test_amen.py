"""AMEN and its generator: leakage, invariances, the hand-over between the stages, every switch."""

import copy

import pytest
import torch

from recbole_nif.data import fields
from recbole_nif.model.amen.generator import grouped_cuts
from recbole_nif.model.layers.sphere import unit
from tests.unit.amen_doubles import tiny_amen, tiny_batch, window_batch

WINDOW_FIELDS = {
    fields.MOVELINE_ITEM: 6,
    fields.MOVELINE_SCENE: 3,
    fields.MOVELINE_BEHAVIOR: 1,
    fields.MOVELINE_GAP: 9,
}


def stage1_arguments(generator, batch) -> dict:
    """What stage 1 hands to its InfoNCE: the unit "flow" of every packed cut, its window "group", …"""
    seen = {}
    forward = generator.contrast.forward
    generator.contrast.forward = lambda **arguments: seen.update(arguments) or torch.zeros(())
    generator.loss_terms(batch)
    generator.contrast.forward = forward
    return seen


# -- leakage and invariances


@pytest.mark.parametrize("encoder", ["transformer", "gru"])
def test_events_after_the_cut_do_not_reach_the_logit(encoder):
    model, batch = tiny_amen(moveline_encoder=encoder), tiny_batch()
    before = model(batch)
    for name, value in WINDOW_FIELDS.items():
        batch[name][0, 4:] = value  # after row 0's cut (4) and row 1's (2)
        batch[name][1] = value  # row 2 sees nothing of its window
    assert torch.allclose(model(batch), before, atol=1e-6)
    batch[fields.MOVELINE_SCENE][0, 3] = 2  # row 0 sees event 3, row 1 does not
    after = model(batch)
    assert (after[0] - before[0]).abs() > 1e-6
    assert torch.allclose(after[1:], before[1:], atol=1e-6)


def test_padding_of_windows_changes_nothing():
    model, batch = tiny_amen(moveline_length=9), tiny_batch()
    before = model(batch)
    for name in WINDOW_FIELDS:
        batch.interaction[name] = torch.nn.functional.pad(batch[name], (0, 3))
    assert torch.allclose(model(batch), before, atol=1e-6)


def test_rows_that_share_a_window_score_as_with_windows_of_their_own():
    model, batch = tiny_amen(), tiny_batch()
    before = model(batch)
    for name in (*WINDOW_FIELDS, fields.MOVELINE_START):
        batch.interaction[name] = batch[name][torch.tensor([0, 0, 1])]
    batch[fields.MOVELINE_ROW] = torch.tensor([0, 1, 2])
    assert torch.allclose(model(batch), before, atol=1e-6)


def test_a_batch_of_one_gives_the_row_of_a_batch():
    model, batch = tiny_amen(), tiny_batch()
    expected = model.predict(batch)
    shared = (*WINDOW_FIELDS, fields.MOVELINE_START)
    for row in range(3):
        window = batch[fields.MOVELINE_ROW][row]
        single = {name: batch[name][window : window + 1] for name in shared}
        single |= {name: batch[name][row : row + 1] for name in batch.columns if name not in shared}
        single[fields.MOVELINE_ROW] = torch.tensor([0])
        assert torch.allclose(model.predict(single), expected[row : row + 1], atol=1e-6)


def test_a_user_without_any_past_has_finite_probability_and_gradients():
    model, batch = tiny_amen(), tiny_batch()
    batch[fields.MOVELINE_CUT] = torch.zeros(3, dtype=torch.long)
    batch["item_id_list"], batch["label_list"] = torch.zeros(2, 3, 1, dtype=torch.long)
    for name in WINDOW_FIELDS:
        batch[name].zero_()
    model.train()
    sum(model.loss_terms(batch).values()).backward()
    assert model.predict(batch).isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_user_is_encoded_once_and_scored_against_many_candidates():
    model, batch = tiny_amen(), tiny_batch()
    state, rows = model.encode_user(batch), torch.tensor([2, 0, 0, 1])
    candidates = {"item_id": torch.tensor([1, 4, 6, 5]), "hour": torch.tensor([2, 1, 1, 3])}
    scores = model.score(state, candidates, rows)
    assert torch.allclose(scores[[1, 3, 0]], model(batch), atol=1e-6)
    assert (scores[1] - scores[2]).abs() > 1e-6


# -- stage 1


@pytest.mark.parametrize("decoding", ["slots", "autoregressive"])
def test_flow_targets_and_items_are_on_the_unit_sphere(decoding):
    generator = tiny_amen(flow_decoding=decoding).generator
    flow = stage1_arguments(generator, window_batch())["flow"]
    assert torch.allclose(flow.norm(dim=-1), torch.ones(flow.shape[:2]), atol=1e-5)
    assert torch.allclose(generator.item_table()[1:].norm(dim=-1), torch.ones(6), atol=1e-5)
    assert generator.flow(tiny_batch()).shape == (3, 3, 8)


def test_a_cut_of_stage_1_sees_what_a_row_at_that_place_sees():
    generator, windows, batch = tiny_amen().generator, window_batch(), tiny_batch()
    flow = stage1_arguments(generator, windows)["flow"]
    window, event, valid = grouped_cuts(windows[fields.CUT_MASK], 5)
    place = (event + 100 * (~valid)).flatten()
    batch[fields.MOVELINE_ROW], batch[fields.MOVELINE_CUT] = torch.tensor([0, 0, 1]), torch.tensor([3, 5, 1])
    batch[fields.ROW_GAP] = torch.tensor(
        [3, 5, 6]
    )  # CUT_GAP after events 2 and 4, and after event 0 of window 1
    rows = unit(generator.flow(batch))
    assert torch.allclose(flow[place == 2][0], rows[0], atol=1e-5)
    assert torch.allclose(flow[place == 4][0], rows[1], atol=1e-5)
    assert torch.allclose(flow[place == 0][0], rows[2], atol=1e-5)


def test_cuts_are_packed_in_order_and_ineligible_ones_are_left_out():
    mask = torch.tensor([[0, 1, 1, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]).bool()
    window, event, valid = grouped_cuts(mask, 2)
    assert window.tolist() == [0, 0, 2]
    assert valid.tolist() == [[True, True], [True, False], [True, False]]
    assert event[valid].tolist() == [1, 2, 4, 0]
    assert event.max() < 5


def test_autoregressive_rollout_equals_forcing_its_own_vectors():
    generator, batch = tiny_amen(flow_decoding="autoregressive").generator, tiny_batch()
    encoded = generator._with_empty(generator.encode(batch))
    memory, visible = generator.decoder.memory(encoded), torch.ones(2, 1, 7, dtype=torch.bool)
    start = torch.randn(2, 1, 8)
    rollout = generator._decode(start, memory, visible)
    forced = generator._decode(start, memory, visible, targets=unit(rollout))
    assert torch.allclose(rollout, forced, atol=1e-5)


def test_window_clicks_and_targets_are_never_negatives_of_the_window():
    generator, batch = tiny_amen().generator, window_batch()
    targets = batch[fields.TARGET_ITEM]
    positives = stage1_arguments(generator, batch)["positives"]
    assert set(positives[0].tolist()) - {0} == {1, 3, 4, 6} | set(targets[0].flatten().tolist()) - {0}
    assert set(positives[1].tolist()) - {0} == {2} | set(targets[1].flatten().tolist()) - {0}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"regularizer_form": "cosine"},
        {"regularizer_form": "none"},
        {"regularizer_form": "cosine", "div_form": "logdet", "vel_target": "match"},
        {"div_form": "tangent_logdet", "vel_target": "match", "anchor": "mean"},
        {"flow_decoding": "autoregressive", "moveline_encoder": "gru"},
        {"flow_len": 1, "learnable_temperature": True, "use_logq": True},
        {"lambda_div": 0.0, "lambda_vel": 0.0},
        {"nce_hard_negatives": 2},
        {"lambda_click": 0.0},
    ],
)
def test_every_form_of_stage_1_trains(options):
    generator = tiny_amen(finetune=False, **options).generator.train()
    batch = window_batch(n_hard=options.get("nce_hard_negatives", 0))
    if options.get("flow_len") == 1:
        for name in (fields.TARGET_ITEM, fields.TARGET_SCENE, fields.TARGET_MASK):
            batch.interaction[name] = batch[name][..., :1]
    terms = generator.loss_terms(batch)
    regularized = options.get("regularizer_form") != "none" and options.get("lambda_div") != 0
    named = {"nce": True, "click": options.get("lambda_click") != 0}
    named |= dict.fromkeys(("diversity", "velocity"), regularized)
    assert list(terms) == [name for name, expected in named.items() if expected]
    sum(terms.values()).backward()
    gradients = {name: p.grad for name, p in generator.named_parameters() if p.requires_grad}
    unused = {name for name, grad in gradients.items() if grad is None}
    assert unused <= {"interest.weight", "interest.bias", "feedback.weight", "feedback.bias"}
    assert all(grad.isfinite().all() for grad in gradients.values() if grad is not None)


def test_stage_1_learns_a_deterministic_next_item():
    torch.manual_seed(0)
    generator = tiny_amen(finetune=False, hidden_dropout_prob=0.0, regularizer_form="none").generator.train()
    batch = window_batch()
    batch[fields.TARGET_ITEM][0, [1, 2, 4], 0] = torch.tensor([5, 2, 5])
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    start = generator.loss_terms(batch)["nce"].item()
    for _ in range(60):
        optimizer.zero_grad()
        generator.loss_terms(batch)["nce"].backward()
        optimizer.step()
    assert generator.loss_terms(batch)["nce"].item() < 0.5 * start


def test_fold_generators_keep_the_target_space_and_forget_the_rest():
    generator = tiny_amen().generator  # frozen
    fold = copy.deepcopy(generator)
    fold.reset_sequence_parameters()
    assert torch.equal(fold.item_table(), generator.item_table())
    assert not torch.allclose(fold.flow(tiny_batch()), generator.flow(tiny_batch()), atol=1e-2)
    frozen = {name for name, p in fold.named_parameters() if not p.requires_grad}
    assert frozen == {
        "moveline.events.item.weight",
        "moveline.events.scene.table.weight",
        "moveline.target.weight",
        "contrast.log_temperature",
        "click.weight",
        "click.item.weight",
        "click.item.bias",
    }


# -- targets of semantic codes


def test_targets_of_ids_draw_and_compute_what_they_did_before_there_were_others():
    model = tiny_amen()
    table = model.generator.moveline.events.item
    assert type(table) is torch.nn.Embedding
    items, scenes = torch.tensor([4, 2]), torch.tensor([1, 2])
    by_hand = torch.cat([table.weight[items], model.generator.moveline.events.scene(scenes)], dim=-1)
    by_hand = unit(by_hand @ model.generator.moveline.target.weight.T)
    assert torch.allclose(model.generator.item_targets(items, scenes), by_hand, atol=1e-6)


def test_an_item_that_was_never_trained_has_what_its_codes_have_learned():
    events = tiny_amen(flow_targets="semantic").generator.moveline.events
    with torch.no_grad():
        events.item.own.weight[2] = 0  # nothing is known of item 2, which shares the codes 0, 1, 2 of item 1
        code = events.item.code.weight
        by_hand = code[1 + 0] + code[1 + 2 + 1] + code[1 + 2 + 3 + 2]
    known, new, none = events.item(torch.tensor([1, 2, 0]))
    assert torch.allclose(new, by_hand) and by_hand.abs().sum() > 0
    assert torch.allclose(known, by_hand + events.item.own.weight[1])
    assert not none.any()


def test_a_click_on_an_item_moves_the_target_of_its_unseen_neighbor():
    generator = tiny_amen(flow_targets="semantic", finetune=False).generator.train()
    batch = window_batch(n_exposed=0)
    batch[fields.TARGET_ITEM] = torch.where(batch[fields.TARGET_MASK], 1, 0)  # item 1 alone is clicked
    batch[fields.MOVELINE_ITEM] = torch.zeros_like(batch[fields.MOVELINE_ITEM])
    generator.lambda_click, generator.click = 0.0, None
    generator.loss_terms(batch)["nce"].backward()
    events = generator.moveline.events
    assert (
        events.item.code.weight.grad[[1, 4, 8]].abs().sum(1).min() > 0
    )  # the codes 0, 1, 2 of items 1 and 2
    assert not events.item.code.weight.grad[0].any() and not events.item.own.weight.grad[0].any()
