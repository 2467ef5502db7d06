"""Changed logs, and which rows and events change."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_nif.audit import perturb
from recbole_nif.audit.leaks import around, one_row_per_user
from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog
from tests.logs import make_log, make_table
from tests.toy import toy_dataset
from tests.unit.leaky_models import ROWS

# -- which rows and events


def test_one_random_row_of_each_user_is_audited():
    users = torch.tensor([7, 7, 7, 4, 4, 9]).numpy()
    seen = {tuple(one_row_per_user(users, np.random.default_rng(seed))) for seed in range(50)}
    assert {len(rows) for rows in seen} == {3}
    assert {tuple(users[list(rows)]) for rows in seen} == {(4, 7, 9)}
    assert {rows[1] for rows in seen} == {0, 1, 2}


# User 1: times 0 1 1 1 2, row 2 audited; user 2 is not audited.
LOG = {"user": [1, 1, 1, 1, 1, 2], "item": [1, 2, 3, 4, 5, 6], "timestamp": [0, 1, 1, 1, 2, 0]}
LABEL = [1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    ("strict", "train", "later", "earlier"),
    [
        (True, [0], [1, 3, 4], [0]),
        (True, [0, 1], [3, 4], [0]),  # row 1 trains
        (False, [0], [3, 4], [0]),  # row 1 stands before row 2
    ],
)
def test_later_events_are_told_by_time_and_ties(strict, train, later, earlier):
    log = make_log(**LOG, label=LABEL, strict=strict)
    masks = around(log, torch.tensor([2]), torch.tensor(train))
    assert [mask.nonzero().flatten().tolist() for mask in masks] == [later, earlier]


def test_frozen_histories_end_with_the_last_training_row():
    train = torch.tensor([0, 5])
    log = make_log(**LOG, label=LABEL).freeze_after(train)
    later, earlier = around(log, torch.tensor([4]), train)
    assert later.nonzero().flatten().tolist() == [1, 2, 3]
    assert earlier.nonzero().flatten().tolist() == [0]


# -- changed logs


@pytest.fixture
def view(tmp_path):
    return toy_dataset(tmp_path, "NIFDIN", ROWS, history="all_with_label")[2]


def test_exchanged_events_keep_users_times_and_everybody_else(view):
    log = view.event_log
    member = torch.zeros(len(log), dtype=torch.bool)
    member[[3, 40, 41, 100, 200]] = True
    change = perturb.exchange(view, member, torch.Generator().manual_seed(0))
    assert 0 < change.events <= 5
    for name in ("item", "label", "rating", "scene", "behavior"):
        before, after = getattr(log, name), getattr(change.log, name)
        assert torch.equal(before[~member], after[~member])
        assert set(after[member].tolist()) <= set(before[member].tolist())
    assert torch.equal(change.log.timestamp, log.timestamp)
    assert torch.equal(change.log.clicks.positions, torch.nonzero(change.log.label == 1).flatten())


def test_exchanged_events_change_how_often_an_item_comes(view):
    everything = torch.ones(len(view.event_log), dtype=torch.bool)
    change = perturb.exchange(view, everything, torch.Generator().manual_seed(0))
    before, after = (torch.bincount(log.item.long(), minlength=41) for log in (view.event_log, change.log))
    assert (before != after).sum() > 20
    assert (change.log.item == view.event_log.item).float().mean() < 0.1


def test_a_rows_own_columns_go_with_its_event(view):
    everything = torch.ones(len(view.event_log), dtype=torch.bool)
    change = perturb.exchange(view, everything, torch.Generator().manual_seed(0))
    position = change.log.position.long()
    assert torch.equal(change.rows["item_id"], change.log.item[position].long())
    assert torch.equal(change.rows["label"].long(), change.log.label[position].long())
    for name in ("user_id", "timestamp", "row_id"):
        assert torch.equal(change.rows[name], view.all_rows[name])


def test_a_flipped_label_takes_behavior_and_rating_along(view):
    rows = torch.tensor([5, 17])
    change = perturb.flip_labels(view, rows)
    log, position = view.event_log, view.event_log.position[rows].long()
    assert torch.equal(change.log.label[position], 1 - log.label[position])
    assert torch.equal(change.log.behavior[position], 3 - log.behavior[position])
    assert torch.equal(change.log.rating[position], 6 - log.rating[position])
    assert torch.equal(change.rows["label"][rows], 1 - view.all_rows["label"][rows])
    assert (
        (change.log.label != log.label).sum() == (change.rows["label"] != view.all_rows["label"]).sum() == 2
    )


def test_labels_are_shuffled_inside_ties_only(view):
    log = view.event_log
    change = perturb.shuffle_labels_in_ties(view, torch.Generator().manual_seed(0))
    assert change.events == (change.log.label != log.label).sum() > 0
    group = log.tie_begin.long()
    clicks = [torch.bincount(group, weights=labels.double()) for labels in (log.label, change.log.label)]
    assert torch.equal(*clicks)
    assert torch.equal(change.log.item, log.item)
    assert torch.equal(change.log.behavior, change.log.label + 1)
    assert change.rows is view.all_rows


def test_moveline_events_exchange_and_shuffle_among_themselves():
    table = make_table([1] * 6, [1, 2, 3, 4, 5, 6], [0] * 6, [1, 0, 1, 0, 1, 0])
    label, row_id = np.array([1, 0, 1, 0, NO_LABEL, NO_LABEL]), np.array([0, 1, 2, 3, NO_ROW, NO_ROW])
    log = EventLog.build(replace(table, label=label, row_id=row_id), n_users=2, strict=True)
    rows = Interaction({"user": torch.ones(4), "item": torch.arange(1, 5), "time": torch.zeros(4)})
    dataset = SimpleNamespace(event_log=log, all_rows=rows, uid_field="user", time_field="time")
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        change = perturb.exchange(dataset, torch.ones(6, dtype=torch.bool), generator)
        unlabelled = log.row_id == NO_ROW
        assert change.log.item[unlabelled].tolist() == [6, 5]  # each the other one
        assert torch.equal(change.log.item[log.position.long()].long(), change.rows["item"])
        shuffled = perturb.shuffle_labels_in_ties(dataset, generator)
        for changed in (change, shuffled):
            assert torch.equal(changed.log.label == NO_LABEL, unlabelled)
        assert int((shuffled.log.label == 1).sum()) == 2


def test_a_view_on_another_log_leaves_the_first_one_alone(view):
    before = view[:]
    change = perturb.flip_labels(view, torch.arange(len(view.all_rows)))
    other = view.with_log(change.log, change.rows)
    assert torch.equal(other[:]["label"], 1 - before["label"])
    visible = before["label_list"] > 0
    assert torch.equal(other[:]["label_list"][visible], 3 - before["label_list"][visible])
    assert torch.equal(view[:]["label_list"], before["label_list"])
