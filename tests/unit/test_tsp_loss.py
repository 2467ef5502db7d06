"""Temporal Sequential Pairwise: both losses by hand, the order of a pair, and what the shift form hides."""

import math

import pytest
import torch

from recbole_nif.data import fields
from recbole_nif.model.amen.tsp import Pairs, events_since, pair_loss
from recbole_nif.model.layers import target_attention
from recbole_nif.model.layers.mlp import Dice
from tests.unit.amen_doubles import pair_batch, tiny_amen

CLICKED = torch.tensor([1.0, 0.0])  # labels of the later rows of two pairs


def shift_of(model, batch) -> float:
    return model.loss_terms(batch)["tsp"].item() / model.lambda_tsp


def test_the_loss_is_log_2_for_equal_scores_and_the_mean_over_pairs():
    same = torch.full((2,), 1.5)
    assert pair_loss(same, same, CLICKED).item() == pytest.approx(math.log(2))
    later, earlier = torch.tensor([4.0, -1.0]), torch.tensor([1.0, 2.0])  # clicked over unclicked: 3 and 3
    assert pair_loss(later, earlier, CLICKED).item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-5)


def test_the_loss_falls_as_the_clicked_row_rises():
    later, earlier = (torch.zeros(2, requires_grad=True) for _ in range(2))
    pair_loss(later, earlier, CLICKED).backward()
    assert torch.allclose(later.grad, torch.tensor([-0.25, 0.25]))
    assert torch.allclose(earlier.grad, torch.tensor([0.25, -0.25]))


def test_without_pairs_there_is_no_loss_and_rows_that_are_none_do_not_count():
    nothing = torch.zeros(0)
    assert pair_loss(nothing, nothing, nothing).item() == 0
    later, earlier, none = torch.tensor([4.0, 9.0]), torch.tensor([1.0, 2.0]), torch.tensor([False, False])
    assert pair_loss(later, earlier, CLICKED, none).item() == 0
    counted = pair_loss(later, earlier, CLICKED, torch.tensor([True, False]))
    assert counted.item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-5)


def test_shift_loss_is_log_2_when_nothing_moved_and_ignores_what_both_share():
    now, before, clicked = torch.tensor([0.3, -1.0]), torch.tensor([0.1, 2.0]), torch.tensor([1.0, 0.0])
    assert pair_loss(now, now, clicked).item() == pytest.approx(math.log(2))
    static = torch.tensor([5.0, -3.0])  # any function of user and item
    assert torch.allclose(pair_loss(now + static, before + static, clicked), pair_loss(now, before, clicked))


def test_shift_gradient_changes_sign_with_the_later_label():
    for label, sign in ((1.0, -1.0), (0.0, 1.0)):
        now = torch.zeros(1, requires_grad=True)
        pair_loss(now, torch.zeros(1), torch.tensor([label])).backward()
        assert now.grad.item() == pytest.approx(sign * 0.5)


def test_the_later_row_of_a_pair_is_the_one_with_the_later_tie_group():
    batch = {
        fields.PAIR_OF: torch.tensor([-1, -1, 0, 1]),
        fields.TIE_BEGIN: torch.tensor([7, 3, 5, 9]),
    }
    later, earlier, counted = Pairs.of(batch)
    assert later.tolist() == [0, 3] and earlier.tolist() == [2, 1] and counted is None


def test_where_the_number_of_pairs_is_not_asked_for_all_rows_are_listed(monkeypatch):
    monkeypatch.setattr(target_attention, "may_wait", lambda mask: False)  # as on an accelerator
    batch = {
        fields.PAIR_OF: torch.tensor([-1, -1, 0, 1]),
        fields.TIE_BEGIN: torch.tensor([7, 3, 5, 9]),
    }
    later, earlier, counted = Pairs.of(batch)
    assert later[counted].tolist() == [0, 3] and earlier[counted].tolist() == [2, 1]


@pytest.mark.parametrize("mode", ["logit", "shift", "both"])
def test_the_losses_do_not_depend_on_whether_the_number_of_pairs_is_asked_for(mode, monkeypatch):
    model = tiny_amen(tsp_mode=mode)
    asked = model.loss_terms(pair_batch())
    monkeypatch.setattr(target_attention, "may_wait", lambda mask: False)
    listed = model.loss_terms(pair_batch())
    assert {name: term.item() for name, term in listed.items()} == pytest.approx(
        {name: term.item() for name, term in asked.items()}, rel=1e-5
    )


def test_events_at_the_time_of_the_earlier_row_and_later_ones_are_found_by_log_position():
    hidden, between = events_since(pair_batch(), torch.tensor([0]), torch.tensor([1]), 6)
    assert hidden.tolist() == [[False, False, True, False, False, False]]  # window from 10, event 12
    assert between.tolist() == [[False, False, False, True, True, True]]


def test_shift_never_sees_the_earlier_row_of_the_pair_nor_labels_behind_it():
    model, batch = tiny_amen(tsp_mode="shift"), pair_batch()
    before = shift_of(model, batch)
    swapped = pair_batch()
    for name, value in ((fields.MOVELINE_BEHAVIOR, 1), (fields.MOVELINE_ITEM, 6), (fields.MOVELINE_SCENE, 1)):
        assert swapped[name][0, 2] != value
        swapped[name][0, 2] = value
    assert shift_of(model, swapped) == pytest.approx(before, abs=1e-7)
    swapped[fields.MOVELINE_BEHAVIOR][0, 3] = 1  # of an event between the two rows the label is unknown
    assert shift_of(model, swapped) == pytest.approx(before, abs=1e-7)
    swapped[fields.MOVELINE_ITEM][0, 3] = (
        6 if swapped[fields.MOVELINE_ITEM][0, 3] != 6 else 5
    )  # its item is not
    assert abs(shift_of(model, swapped) - before) > 1e-7


def test_shift_is_log_2_when_only_the_earlier_row_lies_between_the_snapshots():
    model, batch = tiny_amen(tsp_mode="shift"), pair_batch()
    batch[fields.MOVELINE_CUT] = torch.tensor([3, 2, 0])
    batch[fields.TIE_BEGIN], batch[fields.TIE_END] = torch.tensor([13, 12, 30]), torch.tensor([14, 13, 31])
    batch[fields.ROW_GAP] = torch.tensor([4, 4, 0])
    assert shift_of(model, batch) == pytest.approx(math.log(2), abs=1e-6)


def logit_of(model, batch) -> float:
    """By hand: the item of row 0, the later one and clicked, with the past of row 1, against row 1 itself."""
    state, labels = model.encode_user(batch), batch["label"]
    assert labels[:2].tolist() == [1, 0]
    later, earlier = model.score(state, batch, torch.tensor([1, 1, 1]))[0], model.score(state, batch)[1]
    return math.log1p(math.exp((earlier - later).item()))


def test_both_adds_half_the_shift_loss():
    models = {mode: tiny_amen(tsp_mode=mode) for mode in ("both", "shift")}
    models["shift"].load_state_dict(models["both"].state_dict())
    expected = logit_of(models["both"], pair_batch()) + 0.5 * shift_of(models["shift"], pair_batch())
    assert shift_of(models["both"], pair_batch()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", ["logit", "same_time", "random"])
def test_modes_that_differ_in_the_pairs_only_share_the_logit_loss(mode):
    model = tiny_amen(tsp_mode=mode)
    assert shift_of(model, pair_batch()) == pytest.approx(logit_of(model, pair_batch()), rel=1e-5)


def test_logit_never_sees_the_earlier_row_of_the_pair_nor_anything_behind_it():
    model, batch = tiny_amen(), pair_batch()
    before, changed = shift_of(model, batch), pair_batch()
    changed[fields.MOVELINE_BEHAVIOR][0, 2:] = 3 - changed[fields.MOVELINE_BEHAVIOR][0, 2:]
    changed[fields.MOVELINE_ITEM][0, 2:] = 1
    changed["item_id_list"][0], changed["label_list"][0] = 5, 1  # the later row's own history
    assert shift_of(model, changed) == pytest.approx(before, abs=1e-7)
    changed[fields.MOVELINE_ITEM][0, 1] = 6  # which both have seen
    assert abs(shift_of(model, changed) - before) > 1e-7


def test_added_rows_and_rows_met_again_for_a_pair_do_not_enter_the_statistics_of_dice():
    means = []
    for item in (1, 6):
        model, batch = (
            tiny_amen(mlp_activation="dice", flow_dropout_prob=0.0, dropout_prob=0.0).train(),
            pair_batch(),
        )
        batch["item_id"][1] = item  # of the added row
        model.loss_terms(batch)
        means.append([part.running_mean for part in model.mlp.modules() if isinstance(part, Dice)])
    assert means[0] and all(torch.allclose(a, b) for a, b in zip(*means, strict=True))


def test_shift_trains_the_moveline_but_not_the_user_tables():
    model, batch = tiny_amen(tsp_mode="shift"), pair_batch()
    model.loss_terms(batch)["tsp"].backward()
    assert model.moveline_score.weight.grad.abs().sum() > 0
    assert model.moveline.events.scene.table.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.features.user.parameters())
