"""Facts of small logs, counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recbole_nif.audit.data import (
    Share,
    cold,
    cut_ties,
    dataset_facts,
    label_autocorrelation,
    one_class,
    rows_after_tie,
    split_of_events,
    tied_neighbors,
)
from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog
from tests.logs import make_log, make_table
from tests.toy import toy_dataset

# User 1 has ties of rows 0, 1 and of rows 3, 4; user 2 of rows 6, 7.
USER = [1, 1, 1, 1, 1, 2, 2, 2]
ITEM = [1, 2, 3, 4, 5, 6, 7, 8]
TIME = [0, 0, 1, 2, 2, 5, 6, 6]
LABEL = [1, 1, 1, 0, 0, 0, 1, 0]


@pytest.fixture
def log():
    return make_log(USER, ITEM, TIME, LABEL)


def with_moveline_event(time):
    """The same log with an unlabelled event of user 1."""
    table = make_table([*USER, 1], [*ITEM, 9], [*TIME, time], [*LABEL, 0])
    label, row_id = table.label.copy(), table.row_id.copy()
    label[-1], row_id[-1] = NO_LABEL, NO_ROW
    return EventLog.build(replace(table, label=label, row_id=row_id), n_users=3, strict=True)


def test_neighbors_at_one_timestamp_are_counted_inside_users(log):
    assert tied_neighbors(log) == Share(3, 6)
    # the last event of user 1 and the first of user 2 are no neighbors
    assert tied_neighbors(make_log([1, 2], [1, 2], [7, 7], [1, 0])) == Share(0, 0)


def test_a_row_comes_after_a_tie_when_an_earlier_event_shares_its_timestamp(log):
    assert rows_after_tie(log, torch.tensor([1, 2, 3, 4, 7])) == Share(3, 5)


def test_a_tie_is_cut_when_its_rows_lie_in_two_splits(log):
    split = split_of_events(log, [torch.tensor([0, 1, 2, 3, 5]), torch.tensor([4]), torch.tensor([7, 6])])
    assert split.tolist() == [0, 0, 0, 0, 1, 0, 2, 2]
    groups, users = cut_ties(log, split)
    assert groups == Share(1, 3)  # rows 3 and 4
    assert users == Share(1, 2)


def test_a_moveline_event_belongs_to_no_split_and_cuts_no_tie():
    log = with_moveline_event(time=1)  # simultaneous with row 2
    split = split_of_events(log, [torch.arange(8), torch.tensor([], dtype=torch.long)])
    assert split.tolist() == [0, 0, 0, -1, 0, 0, 0, 0, 0]
    assert cut_ties(log, split) == (Share(0, 3), Share(0, 2))
    assert tied_neighbors(log) == Share(4, 7)


@pytest.mark.parametrize("log", [make_log(USER, ITEM, TIME, LABEL), with_moveline_event(time=1)])
def test_labels_are_correlated_inside_and_across_ties_separately(log):
    inside, across = label_autocorrelation(log)
    # inside: (1, 1), (0, 0), (1, 0); across: (1, 1), (1, 0), (0, 1)
    assert (inside.value, inside.pairs) == (pytest.approx(0.5), 3)
    assert (across.value, across.pairs) == (pytest.approx(-0.5), 3)


def test_a_correlation_without_variation_is_undefined():
    inside, across = label_autocorrelation(make_log([1, 1, 1], [1, 2, 3], [0, 1, 2], [1, 1, 0]))
    assert inside.pairs == 0 and np.isnan(inside.value)
    assert across.pairs == 2 and np.isnan(across.value)  # the first label of both pairs is 1
    assert str(across) == "undefined (2 pairs)"


def test_users_of_one_class_and_their_rows():
    users, rows = one_class(torch.tensor([5, 5, 2, 3, 3]), torch.tensor([1.0, 0, 1, 0, 0]))
    assert users == Share(2, 3)
    assert rows == Share(3, 5)


def test_cold_ids_are_those_without_a_training_row():
    ids, rows = cold(torch.tensor([1, 2, 2]), torch.tensor([2, 3, 3, 4]))
    assert ids == Share(2, 3)
    assert rows == Share(3, 4)
    assert cold(torch.tensor([1]), torch.tensor([], dtype=torch.long)) == (Share(0, 0), Share(0, 0))


def test_a_share_is_shown_with_what_it_counts():
    assert str(Share(1234, 5000)) == "24.7 % (1,234 of 5,000)"
    assert str(Share(0, 0)) == "none"


def test_the_facts_of_a_dataset_come_from_its_splits(tmp_path):
    # Users a and b have 10 rows each, the last two in validation and test; c has one training row.
    facts = {fact.key: fact.value for fact in dataset_facts(toy_dataset(tmp_path))}
    assert facts["tied_neighbors"] == Share(1, 18)
    assert facts["test_rows_after_tie"] == Share(0, 2)
    assert facts["cut_tie_groups"] == Share(0, 1)
    assert facts["one_class_users"] == Share(2, 2)
    assert facts["validation_cold_users"] == Share(0, 2)
    assert facts["validation_cold_items"] == Share(1, 1)  # m9 is nobody's training row
    assert facts["test_rows_of_cold_items"] == Share(2, 2)  # nor is m10
