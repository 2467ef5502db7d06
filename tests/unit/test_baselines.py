import pytest
import torch

from recbole_nif.evaluation.baselines import item_rates, last_click_recall, popularity_recall
from tests.logs import make_log


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
