import types

import pytest
import torch

from recbole_nif.data import fields
from recbole_nif.data.windows import MovelineWindows
from recbole_nif.errors import UserError
from tests.logs import make_log


def windows(log, train_rows, **options):
    dataset = types.SimpleNamespace(
        event_log=log, train_rows=torch.as_tensor(train_rows), user_num=len(log.offsets) - 1
    )
    return MovelineWindows(dataset, **{"length": 4, "stride": 2, "flow_len": 2, "batch_size": 8, **options})


def cuts_and_targets(found):
    """{(user, events before the cut): items of its targets} over one epoch."""
    result = {}
    for batch in found:
        begin = found.log.offsets[found.log.user[batch[fields.MOVELINE_START]].long()]
        for u, j in torch.nonzero(batch[fields.CUT_MASK]).tolist():
            before = int(batch[fields.MOVELINE_START][u] - begin[u]) + j + 1
            key = (int(found.log.user[batch[fields.MOVELINE_START][u]]), before)
            assert key not in result, "a cut is served twice"
            mask = batch[fields.TARGET_MASK][u, j]
            result[key] = batch[fields.TARGET_ITEM][u, j][mask].tolist()
    return result


# 9 events of one user, item = 10 + place; clicks at places 0, 2, 3, 6, 8.
LOG = dict(
    user=[1] * 9, item=list(range(10, 19)), timestamp=list(range(9)), label=[1, 0, 1, 1, 0, 0, 1, 0, 1]
)


def test_every_cut_is_served_once_and_predicts_the_next_clicks():
    found = windows(make_log(**LOG), range(9))
    assert cuts_and_targets(found) == {
        (1, 1): [12, 13],
        (1, 2): [12, 13],
        (1, 3): [13, 16],
        (1, 4): [16, 18],
        (1, 5): [16, 18],
        (1, 6): [16, 18],
        (1, 7): [18],
        (1, 8): [18],
    }
    assert found.n_cuts == 8


def test_a_cut_sees_the_same_window_as_a_row_of_stage_two():
    found = windows(make_log(**LOG), range(9))
    starts = {}
    for batch in found:
        for u, j in torch.nonzero(batch[fields.CUT_MASK]).tolist():
            start = int(batch[fields.MOVELINE_START][u])
            starts[start + j + 1] = start
    for before, start in starts.items():
        assert start == (0 if before <= 4 else -(-(before - 4) // 2) * 2)


def test_targets_and_inputs_come_from_the_training_split_only():
    found = windows(make_log(**LOG), range(6))
    served = cuts_and_targets(found)
    assert set(served) == {(1, 1), (1, 2), (1, 3)}  # the last training click is at place 3
    assert all(set(items) <= {12, 13} for items in served.values())
    for batch in found:
        assert batch[fields.MOVELINE_ITEM].max() <= 13


def test_a_cut_inside_a_second_is_left_out_unless_asked_for():
    tied = {**LOG, "timestamp": [0, 0, 0, 3, 4, 5, 6, 7, 8]}
    assert min(before for _, before in cuts_and_targets(windows(make_log(**tied), range(9)))) == 3
    assert (1, 1) in cuts_and_targets(windows(make_log(**tied), range(9), cuts="all"))


def test_hard_negatives_are_the_users_next_unclicked_rows():
    found = windows(make_log(**LOG), range(9), hard_negatives=2)
    for batch in found:
        for u, j in torch.nonzero(batch[fields.CUT_MASK]).tolist():
            before = int(batch[fields.MOVELINE_START][u]) + j + 1
            expected = [10 + place for place in (1, 4, 5, 7) if place >= before][:2]
            # Only rows before the user's last training click are read.
            mask = batch[fields.NEGATIVE_MASK][u, j]
            assert batch[fields.NEGATIVE_ITEM][u, j][mask].tolist() == expected


def test_exposures_are_the_users_next_rows_with_their_labels_up_to_the_last_training_row():
    log = make_log(**LOG)
    labels = LOG["label"]
    for batch in windows(log, range(9), exposures=3):
        for u, j in torch.nonzero(batch[fields.CUT_MASK]).tolist():
            before = int(batch[fields.MOVELINE_START][u]) + j + 1
            expected = list(range(before, 9))[:3]
            mask = batch[fields.EXPOSED_MASK][u, j]
            assert batch[fields.EXPOSED_ITEM][u, j][mask].tolist() == [10 + place for place in expected]
            assert batch[fields.EXPOSED_LABEL][u, j][mask].tolist() == [labels[place] for place in expected]


def test_a_user_mask_leaves_the_other_users_out():
    log = make_log(user=[1] * 3 + [2] * 3, item=[1, 2, 3, 4, 5, 6], timestamp=[0, 1, 2] * 2, label=[1] * 6)
    mask = torch.tensor([False, False, True])
    assert {user for user, _ in cuts_and_targets(windows(log, range(6), user_mask=mask))} == {2}


def test_the_order_depends_on_the_epoch_and_the_seed_only():
    log = make_log(
        user=[u for u in range(1, 30) for _ in range(3)],
        item=[1, 2, 3] * 29,
        timestamp=[0, 1, 2] * 29,
        label=[1] * 87,
    )
    one, two = windows(log, range(87), seed=1), windows(log, range(87), seed=1)
    starts = [[b[fields.MOVELINE_START].tolist() for b in found] for found in (one, two)]
    assert starts[0] == starts[1]
    one.set_epoch(1)
    assert [b[fields.MOVELINE_START].tolist() for b in one] != starts[0]


def test_processes_read_different_windows_in_equally_many_steps():
    alone = windows(make_log(**LOG), range(9), length=2, stride=1, batch_size=1)
    parts = [
        windows(make_log(**LOG), range(9), length=2, stride=1, batch_size=1, rank=rank, world_size=2)
        for rank in (0, 1)
    ]
    starts = [[int(batch[fields.MOVELINE_START]) for batch in found] for found in (alone, *parts)]
    assert len(alone) == 7
    assert [len(part) for part in parts] == [3, 3]
    assert starts[1:] == [starts[0][0:6:2], starts[0][1:6:2]]  # the seventh window is one too many
    parts[1].set_epoch(0, 2)
    assert [int(batch[fields.MOVELINE_START]) for batch in parts[1]] == starts[2][2:]


def test_processes_share_windows_that_are_fewer_than_a_batch():
    parts = [
        windows(make_log(**LOG), range(9), length=2, stride=1, batch_size=50, rank=rank, world_size=3)
        for rank in range(3)
    ]
    assert [len(part) for part in parts] == [1, 1, 1]
    starts = [batch[fields.MOVELINE_START].tolist() for part in parts for batch in part]
    assert [len(part) for part in starts] == [2, 2, 2]  # of seven
    assert len({start for part in starts for start in part}) == 6


@pytest.mark.parametrize(
    ("options", "word"), [({"stride": 5}, "moveline_stride"), ({"cuts": "some"}, "pretrain_cuts")]
)
def test_wrong_options_are_refused(options, word):
    with pytest.raises(UserError, match=word):
        windows(make_log(**LOG), range(9), **options)


def test_windows_come_in_another_order_in_each_epoch_unless_they_are_not_shuffled():
    log = make_log([1] * 40, list(range(1, 41)), list(range(40)), [1] * 40)

    def starts(epoch, **options):
        found = windows(log, range(40), batch_size=64, **options)
        found.set_epoch(epoch)
        (batch,) = found
        return batch[fields.MOVELINE_START].tolist()

    assert starts(0, shuffle=False) == starts(1, shuffle=False) == list(range(0, 38, 2))
    assert sorted(starts(0)) == sorted(starts(1)) == list(range(0, 38, 2))
    assert starts(0) != starts(1)
