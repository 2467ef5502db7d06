"""Which rows are in which group, by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recbole_nif.analysis.groups import by_gap, by_history_length, by_popularity, by_volatility, metrics_of
from recbole_nif.analysis.runs import read_variants
from recbole_nif.analysis.volatility import multi_hot
from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog
from recbole_nif.evaluation.metrics import auc, logloss
from tests.logs import make_log, make_table
from tests.unit.run_doubles import make_record, make_scores, write_run


def names_of(grouping):
    return [grouping.names[number] for number in grouping.group]


def test_users_above_the_median_volatility_are_fast():
    # clicks of user 1 and 2 on equal items, of user 3 on different ones; user 4 has none
    log = make_log([1, 1, 2, 2, 3, 3, 4], [1, 1, 1, 2, 1, 3, 1], [0, 1] * 3 + [0], [1] * 6 + [0])
    sets = multi_hot(np.array([0, 1, 1, 2]), 3)
    grouping = by_volatility(log, torch.arange(7), sets, np.array([1, 3, 2, 4, 3]))
    assert names_of(grouping) == ["slow", "fast", "slow", "unknown", "fast"]
    assert "median of the test users, 0.000" in grouping.rule


def test_history_length_counts_labeled_events_that_the_row_sees():
    log = make_log([1] * 22, range(1, 23), [0] * 4 + list(range(1, 19)), [1, 0] * 11)
    found = names_of(by_history_length(log, torch.tensor([3, 4, 5, 21])))  # row 3 sees no event of its second
    assert found == ["0–4", "0–4", "5–19", "20–49"]


def test_unlabeled_events_make_no_history_but_are_the_last_event():
    table = make_table([1, 1, 1], [1, 2, 3], [0, 100, 120], [1, 0, 1])
    label, row_id = table.label.copy(), table.row_id.copy()
    label[1], row_id[1], row_id[2] = NO_LABEL, NO_ROW, 1
    log = EventLog.build(replace(table, label=label, row_id=row_id), n_users=2, strict=True)
    assert names_of(by_gap(log, torch.tensor([0, 1]))) == ["no event", "< 1 min"]
    assert names_of(by_history_length(log, torch.tensor([1]))) == ["0–4"]


@pytest.mark.parametrize(
    ("elapsed", "name"),
    [(59, "< 1 min"), (60, "< 1 h"), (3600, "< 1 day"), (86_400, "< 1 week"), (604_800, "≥ 1 week")],
)
def test_the_gap_is_the_time_since_the_last_visible_event(elapsed, name):
    log = make_log([1, 1, 1], [1, 2, 3], [0, elapsed, elapsed], [1, 1, 0])
    assert names_of(by_gap(log, torch.tensor([0, 2]))) == ["no event", name]  # row 1 shares row 2's second


def test_cold_items_have_fewer_than_five_training_clicks_and_a_fifth_of_the_clicked_are_head():
    clicks = np.array([0, 4, 5, 6, 7, 8, 9, 10, 11, 30, 40, 0])  # 10 clicked items, the head is 40 and 30
    assert names_of(by_popularity(clicks, np.array([11, 1, 2, 8, 9, 10]))) == [
        "cold", "cold", "tail", "tail", "head", "head",
    ]  # fmt: skip


def test_no_item_of_the_head_is_cold():
    assert names_of(by_popularity(np.array([0, 1, 3]), np.array([1, 2]))) == ["cold", "cold"]
    assert names_of(by_popularity(np.array([0, 0]), np.array([1]))) == ["cold"]
    assert names_of(by_popularity(np.array([0, 5, 1]), np.array([1, 2]))) == ["head", "cold"]


def test_metrics_of_a_group_are_those_of_its_rows():
    rows = make_scores()
    places = np.arange(0, 600, 3)
    found = metrics_of(rows, places, None)
    assert found.auc == auc(rows.label[places], rows.score[places])
    assert found.logloss == logloss(rows.label[places], rows.score[places])
    assert found.gauc.rows == 200


def test_a_variant_tells_also_the_settings_that_all_runs_share(tmp_path):
    common = {"epochs": 2, "seed": 2020}
    for name, own in (("LR", {}), ("AMEN", {"use_sam": False})):
        write_run(tmp_path / name, make_record(name, settings=common | own), make_scores())
    variants, _ = read_variants([str(tmp_path / name) for name in ("LR", "AMEN")])
    assert [variant.settings for variant in variants] == ["epochs=2", "epochs=2 use_sam=False"]
