from dataclasses import replace

import numpy as np
import pytest
import torch

from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog
from recbole_nif.evaluation.baselines import (
    history_rates,
    item_knn_recall,
    item_rates,
    last_click_recall,
    popularity_recall,
    rank_of,
)
from recbole_nif.evaluation.scoring import evaluate_item_rate, evaluate_item_user_recent
from tests.logs import make_log, make_table
from tests.toy import toy_dataset


def test_popularity_recall_counts_targets_among_the_most_clicked_items():
    count = torch.tensor([9, 5, 1, 3, 0])  # id 0 is padding and never ranks
    recall = popularity_recall(count, torch.tensor([1, 3, 2, 4]), (1, 2, 3))
    assert recall == {1: 0.25, 2: 0.5, 3: 0.75}


def test_equally_popular_items_count_against_the_target():
    count = torch.tensor([0, 2, 2, 2])
    assert popularity_recall(count, torch.tensor([1]), (2, 3)) == {2: 0.0, 3: 1.0}


# Users 1 and 2 train the chain 1 -> 2, 1 -> 2, 2 -> 3; user 3's unclicked row 3 -> 4 does not count.
USER = [1, 1, 2, 2, 2, 3, 3, 4, 4, 5]
ITEM = [1, 2, 1, 2, 3, 3, 4, 1, 3, 2]
TIME = [0, 1, 0, 1, 2, 0, 1, 0, 1, 0]
LABEL = [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]
TRAIN = torch.arange(7)
CLICKS = torch.tensor([0, 2, 2, 2, 0])  # of the training rows, by item


@pytest.fixture
def log():
    return make_log(USER, ITEM, TIME, LABEL)


def test_item_rates_shrink_to_the_overall_rate(log):
    # items 1 and 2 were clicked 2 of 2 times, 3 was 2 of 2, 4 was 0 of 1; overall 6 of 7
    rates = item_rates(log, TRAIN, n_items=5, prior_rows=2.0)
    seen = (2 + 2 * 6 / 7) / 4
    assert rates.tolist() == pytest.approx([6 / 7, seen, seen, seen, (2 * 6 / 7) / 3])


def test_last_click_recall_ranks_what_followed_the_last_click_first(log):
    # row 8: user 4 clicked 1 before; after 1 came 2 twice, so 2 is first and item 3 shares the rest with 1
    recall = last_click_recall(log, TRAIN, torch.tensor([8]), CLICKS, (1, 2, 3))
    assert recall == {1: 0.0, 2: 0.0, 3: 1.0}
    # row 1 is a training row itself: user 1 clicked 1 before 2
    assert last_click_recall(log, TRAIN, torch.tensor([1]), CLICKS, (1,)) == {1: 1.0}


def test_a_row_without_a_click_before_it_starts_from_what_other_users_clicked_first(log):
    # first clicks in training: 1, 1 and 3; row 9 (item 2) has none of them
    assert last_click_recall(log, TRAIN, torch.tensor([9]), CLICKS, (1, 2, 3)) == {1: 0.0, 2: 0.0, 3: 1.0}
    assert last_click_recall(log, TRAIN, torch.tensor([0]), CLICKS, (1,)) == {1: 1.0}


def test_an_unclicked_row_is_no_transition(log):
    # after 3 nothing was clicked in training; item 4 was never clicked and comes last of all
    probe = make_log([1, 1], [3, 4], [0, 1], [1, 1])
    assert last_click_recall(probe, torch.tensor([0]), torch.tensor([1]), CLICKS, (3, 4)) == {3: 0.0, 4: 1.0}


def test_history_rates_count_what_a_row_may_see():
    # user 1: clicked, unclicked, then two rows at one time; user 2's only row sees nothing
    log = make_log([1, 1, 1, 1, 2], [1, 2, 3, 4, 1], [0, 1, 2, 2, 0], [1, 0, 1, 1, 1])
    train = torch.tensor([0, 1, 4])  # clicked 2 of 3 times
    rows, prior = torch.tensor([0, 2, 3, 4]), 2 * 2 / 3
    strict = [2 / 3, (1 + prior) / 4, (1 + prior) / 4, 2 / 3]
    assert history_rates(log, train, rows, prior_rows=2.0).tolist() == pytest.approx(strict)
    last = [2 / 3, (0 + prior) / 3, (0 + prior) / 3, 2 / 3]
    assert history_rates(log, train, rows, last=1, prior_rows=2.0).tolist() == pytest.approx(last)
    in_order = replace(log, strict=False)
    assert history_rates(in_order, train, rows[2:3], prior_rows=2.0).item() == pytest.approx((2 + prior) / 5)


def test_history_rates_pass_over_events_without_a_label():
    table = make_table([1, 1, 1], [1, 2, 3], [0, 1, 2], [1, 0, 1])
    unlabelled = replace(table, label=np.array([1, NO_LABEL, 1]), row_id=np.array([0, NO_ROW, 1]))
    log = EventLog.build(unlabelled, n_users=2, strict=True)
    assert history_rates(log, torch.tensor([0]), torch.tensor([1]), last=1, prior_rows=1.0).item() == 1.0


def test_the_users_own_rate_ranks_what_the_items_rate_cannot(tmp_path):
    # every item is clicked by users u0 to u2 and by no other
    rows = [(f"u{u}", f"m{i}", 5 if u < 3 else 1, 100 * i) for u in range(6) for i in range(1, 11)]
    views = toy_dataset(tmp_path, "LR", rows)
    config = views[0].config
    assert evaluate_item_rate(views[0], views[2], config).auc == 0.5
    assert evaluate_item_user_recent(*views, config).auc == 1.0


def test_with_one_class_in_validation_the_training_rows_tell_the_weights(tmp_path):
    # the last two rows of a user are clicked by all, those before by half of the users
    rows = [(f"u{u}", f"m{i}", 5 if u < 3 or i > 8 else 1, 100 * i) for u in range(6) for i in range(1, 11)]
    views = toy_dataset(tmp_path, "LR", rows)
    evaluation = evaluate_item_user_recent(*views, views[0].config)
    assert 0 < evaluation.logloss < 2


def test_item_knn_recall_sums_cosines_of_training_co_clicks(log):
    # users clicked {1, 2}, {1, 2, 3} and {3}: cos(1, 2) = 1, cos(1, 3) = cos(2, 3) = 1 / 2
    # row 8: user 4 clicked 1 before, so 2 is first and 3 second; row 1: user 1 clicked 1 before 2
    assert item_knn_recall(log, TRAIN, torch.tensor([8]), CLICKS, (1, 2)) == {1: 0.0, 2: 1.0}
    assert item_knn_recall(log, TRAIN, torch.tensor([1]), CLICKS, (1,)) == {1: 1.0}
    # row 9 sees no click: all scores are 0, popularity ties 2 with 1 and 3
    assert item_knn_recall(log, TRAIN, torch.tensor([9]), CLICKS, (2, 3)) == {2: 0.0, 3: 1.0}


def test_ranks_break_ties_by_popularity_and_leave_out_what_is_no_candidate():
    score = torch.tensor([[9.0, 0.5, 0.5, 0.7], [9.0, 0.5, 0.5, 0.5], [9.0, float("-inf"), 0.5, 0.7]])
    assert rank_of(score, torch.tensor([1, 1, 1]), torch.tensor([0, 3, 2, 3])).tolist() == [2, 2, 5]
