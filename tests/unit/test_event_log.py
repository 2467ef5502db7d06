import pytest
import torch

from recbole_nif.data.event_log import gap_bucket, gather_runs
from recbole_nif.data.pairs import PairSampler
from tests.logs import make_log

# One user, by time: row 2 (t 10), rows 0 and 3 (t 20; items 5 and 4), row 1 (t 21), row 4 (t 90).
LOG = dict(
    user=[1, 1, 1, 1, 1],
    item=[5, 6, 7, 4, 8],
    timestamp=[20, 21, 10, 20, 90],
    label=[1, 0, 1, 0, 1],
)


def history(log, row, length=3, kind="moveline"):
    positions, mask = log.window(torch.tensor([row]), length, kind)
    return log.row_id[positions[0][mask[0]]].tolist()


def test_events_are_sorted_by_user_time_and_item_token():
    log = make_log(**LOG)
    assert log.row_id.tolist() == [2, 3, 0, 1, 4]
    assert log.position.tolist() == [2, 3, 0, 1, 4]


def test_a_tie_is_broken_by_the_item_token_not_by_its_id():
    log = make_log(**LOG, item_rank=[0, 1, 2, 3, 9, 5, 6, 7, 8])  # item 4's token sorts last
    assert log.row_id.tolist() == [2, 0, 3, 1, 4]


def test_a_strict_row_sees_nothing_of_its_own_second():
    log = make_log(**LOG)
    assert history(log, 0) == [2]
    assert history(log, 3) == [2]
    assert history(log, 1) == [2, 3, 0]  # one second later is visible


def test_with_order_a_row_sees_what_precedes_it_inside_its_second():
    log = make_log(**LOG, strict=False)
    assert history(log, 3) == [2]
    assert history(log, 0) == [2, 3]


def test_a_click_history_holds_clicks_only_and_the_newest_when_it_is_short():
    log = make_log(**LOG)
    assert history(log, 4, kind="clicks") == [2, 0]
    assert history(log, 4, length=1, kind="clicks") == [0]


def test_padding_is_on_the_right_and_masked():
    positions, mask = make_log(**LOG).window(torch.tensor([0, 2]), 3)
    assert mask.tolist() == [[True, False, False], [False, False, False]]
    assert positions.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_users_never_see_each_other():
    log = make_log(user=[1, 2, 2], item=[1, 2, 3], timestamp=[1, 2, 3], label=[1, 1, 1])
    assert history(log, 1) == []
    assert history(log, 2) == [1]


def test_a_frozen_log_stops_at_the_users_last_training_event():
    log = make_log(**LOG).freeze_after(torch.tensor([2, 3]))
    assert history(log, 4) == [2, 3]
    assert history(log, 1) == [2, 3]
    assert history(log, 0) == [2]


def test_exact_times_one_second_apart_are_not_a_tie():
    log = make_log(user=[1, 1], item=[1, 2], timestamp=[978300760, 978300761], label=[1, 1])
    assert history(log, 1) == [0]


def test_the_log_is_immutable():
    log = make_log(**LOG)
    with pytest.raises(AttributeError):
        log.strict = False


@pytest.mark.parametrize(("largest", "dtype"), [(2**15 - 1, torch.int16), (2**15, torch.int32)])
def test_ids_take_two_bytes_until_the_largest_needs_four(largest, dtype):
    log = make_log(user=[1, 1], item=[largest, 2], timestamp=[1, 2], label=[1, 0])
    assert log.item.dtype == dtype
    assert log.item.tolist() == [largest, 2]


def test_the_last_user_that_two_bytes_can_name_has_pairs_like_any_other():
    user = 2**15 - 1
    log = make_log(user=[1, user, user], item=[1, 2, 3], timestamp=[1, 1, 2], label=[1, 1, 0])
    assert log.user.dtype == torch.int16
    for window in (None, 10):
        partner = PairSampler(log, torch.arange(3), ratio=1.0, window=window).draw(0)
        assert partner.tolist() == [-1, 2, 1]


@pytest.mark.parametrize(("seconds", "bucket"), [(0, 0), (59, 0), (60, 1), (179, 1), (180, 2), (10**9, 15)])
def test_gap_buckets_are_logarithmic_in_minutes(seconds, bucket):
    assert gap_bucket(torch.tensor([float(seconds)])).item() == bucket


def test_a_users_first_event_has_the_largest_gap_bucket_and_so_has_a_row_without_history():
    log = make_log(**LOG)
    assert log.gap.tolist() == [15, 0, 0, 0, 1]
    assert log.row_gap(torch.tensor([2, 0, 4])).tolist() == [15, 0, 1]


def test_runs_at_the_end_of_the_values_are_not_shifted():
    values = torch.tensor([1, 2, 3, 4, 5], dtype=torch.int32)
    got = gather_runs(values, torch.tensor([0, 3, 4, 5]), torch.tensor([3, 2, 1, 0]), 3)
    assert got.tolist() == [[1, 2, 3], [4, 5, 0], [5, 0, 0], [0, 0, 0]]


def test_runs_longer_than_the_values_are_padded():
    got = gather_runs(torch.tensor([7], dtype=torch.int8), torch.tensor([0]), torch.tensor([1]), 3)
    assert got.tolist() == [[7, 0, 0]]
