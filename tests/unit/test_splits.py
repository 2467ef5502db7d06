import numpy as np
import pytest

from recbole_nif.data.splits import SplitRule, split_rows
from recbole_nif.errors import UserError


def rule(split, group_by="user", order="TO", split_ties="cut"):
    return SplitRule.from_config(
        {"eval_args": dict(split=split, group_by=group_by, order=order), "split_ties": split_ties}
    )


def cut(rule, user, time):
    user, time = np.asarray(user), np.asarray(time)
    parts = split_rows(rule, user=user, time=time, order=np.argsort(time, kind="stable"))
    return [sorted(part.tolist()) for part in parts]


def test_each_users_last_rows_are_validation_and_test():
    user = [1] * 10 + [2] * 10
    time = list(range(10)) + list(range(100, 110))
    train, valid, test = cut(rule({"RS": [0.8, 0.1, 0.1]}), user, time)
    assert (valid, test) == ([8, 18], [9, 19])
    assert train == [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17]


def test_global_time_cuts_everybody_at_once():
    user = [1, 2] * 5
    assert cut(rule({"RS": [0.6, 0.2, 0.2]}, group_by="none"), user, range(10)) == [
        [0, 1, 2, 3, 4, 5],
        [6, 7],
        [8, 9],
    ]


def test_leave_one_out_keeps_one_row_for_training():
    user = [1, 1, 1, 2, 2, 3]
    assert cut(rule({"LS": "valid_and_test"}), user, range(6)) == [[0, 3, 5], [1], [2, 4]]


def test_a_whole_tie_group_follows_its_first_row():
    time = [0, 1, 2, 3, 4, 5, 6, 7, 7, 7]
    ratios = {"RS": [0.8, 0.1, 0.1]}
    assert cut(rule(ratios), [1] * 10, time)[1:] == [[8], [9]]
    assert cut(rule(ratios, split_ties="whole"), [1] * 10, time) == [list(range(10)), [], []]


@pytest.mark.parametrize("sizes", [[1, 2, 3, 4, 5, 7, 9, 10, 11, 14, 19, 20, 23]])
@pytest.mark.parametrize("ratios", [[0.8, 0.1, 0.1], [0.9, 0.05, 0.05], [6, 2, 2]])
def test_ratio_sizes_equal_recboles(sizes, ratios):
    from recbole.data.dataset import Dataset

    user = np.repeat(np.arange(len(sizes)), sizes)
    parts = split_rows(rule({"RS": ratios}), user=user, time=np.arange(len(user)), order=np.arange(len(user)))
    total = sum(ratios)
    for number, size in enumerate(sizes):
        bounds = Dataset._calcu_split_ids(None, size, [ratio / total for ratio in ratios])
        expected = np.diff([0, *bounds, size]).tolist()
        assert [int((user[part] == number).sum()) for part in parts] == expected


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (dict(split={"XX": 1}), "eval_args.split"),
        (dict(split={"RS": [1, 1]}), "three ratios"),
        (dict(split={"TS": ["8", "1", "1"]}), "three ratios"),
        (dict(split={"RS": [float("inf"), 1, 1]}), "three ratios"),
        (dict(split={"TS": [0, 0, 1]}), "split.TS is .* leave rows for training"),
        (dict(split={"LS": "all"}), "valid_and_test"),
        (dict(split={"RS": [8, 1, 1]}, order="XX"), "eval_args.order"),
        (dict(split={"RS": [8, 1, 1]}, group_by="item"), "group_by"),
        (dict(split={"LS": "valid_and_test"}, split_ties="whole"), "split_ties"),
    ],
)
def test_a_wrong_rule_is_refused_in_one_sentence(arguments, word):
    with pytest.raises(UserError, match=word):
        rule(**arguments)
