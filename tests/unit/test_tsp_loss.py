"""Temporal Sequential Pairwise: both losses by hand, the order of a pair, and what the shift form hides."""

import math

import pytest
import torch

from recbole_nif.data import fields
from recbole_nif.model.amen.tsp import events_since, logit_loss, ordered_pairs, shift_loss
from tests.unit.amen_doubles import pair_batch, tiny_amen

LABELS = torch.tensor([1.0, 0.0, 1.0, 0.0])
PAIRS = torch.tensor([-1, -1, 1, 0])  # row 2 is the partner of row 1, row 3 that of row 0


def shift_of(model, batch) -> float:
    return model.loss_terms(batch)["tsp"].item() / model.lambda_tsp


def test_logit_loss_is_log_2_for_equal_logits_and_the_mean_over_pairs():
    assert logit_loss(torch.full((4,), 1.5), LABELS, PAIRS).item() == pytest.approx(math.log(2))
    logits = torch.tensor([2.0, 1.0, 4.0, -1.0])  # clicked over unclicked: 4 - 1 and 2 - (-1)
    assert logit_loss(logits, LABELS, PAIRS).item() == pytest.approx(math.log1p(math.exp(-3)), rel=1e-5)


def test_logit_loss_falls_as_the_clicked_row_rises():
    logits = torch.zeros(4, requires_grad=True)
    logit_loss(logits, LABELS, PAIRS).backward()
    assert torch.allclose(logits.grad, torch.tensor([-0.25, 0.25, -0.25, 0.25]))


def test_a_batch_without_pairs_has_no_loss():
    assert logit_loss(torch.randn(3), torch.ones(3), torch.full((3,), -1)).item() == 0
    assert shift_loss(torch.zeros(0), torch.zeros(0), torch.zeros(0)).item() == 0


def test_shift_loss_is_log_2_when_nothing_moved_and_ignores_what_both_share():
    now, before, clicked = torch.tensor([0.3, -1.0]), torch.tensor([0.1, 2.0]), torch.tensor([1.0, 0.0])
    assert shift_loss(now, now, clicked).item() == pytest.approx(math.log(2))
    static = torch.tensor([5.0, -3.0])  # any function of user and item
    assert torch.allclose(
        shift_loss(now + static, before + static, clicked), shift_loss(now, before, clicked)
    )


def test_shift_gradient_changes_sign_with_the_later_label():
    for label, sign in ((1.0, -1.0), (0.0, 1.0)):
        now = torch.zeros(1, requires_grad=True)
        shift_loss(now, torch.zeros(1), torch.tensor([label])).backward()
        assert now.grad.item() == pytest.approx(sign * 0.5)


def test_the_later_row_of_a_pair_is_the_one_with_the_later_tie_group():
    batch = {
        fields.PAIR_OF: torch.tensor([-1, -1, 0, 1]),
        fields.TIE_BEGIN: torch.tensor([7, 3, 5, 9]),
    }
    later, earlier = ordered_pairs(batch)
    assert later.tolist() == [0, 3] and earlier.tolist() == [2, 1]


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


def test_both_adds_half_the_shift_loss():
    models = {mode: tiny_amen(tsp_mode=mode) for mode in ("both", "shift")}
    logits = models["both"](pair_batch())
    labels, pair_of = pair_batch()["label"], pair_batch()[fields.PAIR_OF]
    models["shift"].load_state_dict(models["both"].state_dict())
    expected = logit_loss(logits, labels, pair_of).item() + 0.5 * shift_of(models["shift"], pair_batch())
    assert shift_of(models["both"], pair_batch()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("mode", ["logit", "same_time", "random"])
def test_modes_that_differ_in_the_pairs_only_share_the_logit_loss(mode):
    model, batch = tiny_amen(tsp_mode=mode), pair_batch()
    expected = logit_loss(model(batch), batch["label"], batch[fields.PAIR_OF]).item()
    assert shift_of(model, batch) == pytest.approx(expected)


def test_shift_trains_the_moveline_but_not_the_user_tables():
    model, batch = tiny_amen(tsp_mode="shift"), pair_batch()
    model.loss_terms(batch)["tsp"].backward()
    assert model.moveline_score.weight.grad.abs().sum() > 0
    assert model.moveline.events.scene.table.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.features.user.parameters())
