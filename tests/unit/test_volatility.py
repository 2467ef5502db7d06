"""Jaccard distances by hand, and against a slow reference."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_nif.analysis.volatility import (
    category_field,
    item_categories,
    jaccard_distances,
    multi_hot,
    user_volatility,
)
from recbole_nif.errors import UserError
from tests.logs import make_log
from tests.toy import toy_dataset

# Items 1 to 4: {1, 2}, {2}, {3}, none.
SETS = multi_hot(np.array([[0, 0], [1, 2], [2, 0], [3, 0], [0, 0]]), 4)


def test_the_distance_is_one_minus_shared_over_all():
    found = jaccard_distances(SETS, np.array([1, 1, 1, 4, 4]), np.array([1, 2, 3, 2, 4]))
    assert found.tolist() == [0, 0.5, 1, 1, 0]


def test_a_category_that_is_named_twice_counts_once():
    assert jaccard_distances(multi_hot(np.array([[1, 1], [1, 2]]), 3), [0], [1]).tolist() == [0.5]


def test_only_training_clicks_on_items_with_a_category_count():
    # user 1 clicks on 1, 2, 3: 0.5 and 1 apart; item 4 has no category, row 3 no click, row 5 a test row
    user, item = [1, 1, 1, 1, 1, 1, 2, 2], [1, 2, 4, 1, 3, 3, 1, 2]
    log = make_log(user, item, [0, 1, 2, 3, 4, 5, 0, 1], [1, 1, 1, 0, 1, 1, 1, 0])
    found = user_volatility(log, torch.tensor([4, 0, 1, 2, 3, 6, 7]), SETS)
    assert np.isnan(found[[0, 2]]).all()  # user 2 has one click only
    assert found[1] == pytest.approx(0.75)


def test_a_test_row_changes_nothing():
    columns = [1, 1, 1, 1], [1, 2, 1, 3], [0, 1, 2, 3]
    train = torch.tensor([0, 1, 2])
    found = [user_volatility(make_log(*columns, [1, 1, 1, label]), train, SETS)[1] for label in (0, 1)]
    assert found == [0.5, 0.5]


events = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 5), st.integers(0, 9), st.integers(0, 1), st.booleans()),
    min_size=1,
    max_size=40,
)
catalog = st.lists(st.sets(st.integers(1, 4), max_size=3), min_size=6, max_size=6)


@given(events, catalog)
def test_it_equals_a_slow_reference(rows, sets):
    user, item, time, label, trained = map(list, zip(*rows, strict=True))
    log = make_log(user, item, time, label)
    ids = np.array([[*members, *[0] * (3 - len(members))] for members in sets])
    found = user_volatility(log, torch.tensor(np.flatnonzero(trained)), multi_hot(ids, 5))
    expected = [slow(log, wanted, trained, sets) for wanted in range(len(found))]
    assert np.allclose(found, expected, equal_nan=True)


def slow(log, user, trained, sets):
    clicked = [
        sets[int(log.item[place])]
        for place in range(len(log))
        if log.user[place] == user and log.label[place] == 1 and trained[int(log.row_id[place])]
    ]
    clicked = [members for members in clicked if members]
    distances = [1 - len(a & b) / len(a | b) for a, b in zip(clicked, clicked[1:], strict=False)]
    return np.mean(distances) if distances else np.nan


def test_categories_come_from_the_scene_field_or_a_column_that_is_called_so(tmp_path):
    view = toy_dataset(tmp_path)[0]
    assert category_field(view) == "genre"
    view.config["scene_field"] = None
    assert category_field(view) == "genre"
    sets = item_categories(view, "genre")
    token = view.field2token_id
    names = view.field2id_token["genre"]
    categories = {item: sorted(names[sets[token["item_id"][item]].indices]) for item in ("m1", "m2")}
    assert categories == {"m1": ["Drama"], "m2": ["Comedy", "Drama"]}


def test_without_categories_there_is_no_field_and_a_wrong_one_is_told(tmp_path):
    columns = {"inter": ["user_id", "item_id", "rating", "timestamp"], "user": ["user_id", "age"]}
    view = toy_dataset(tmp_path, load_col=columns, scene_field=None)[0]
    assert category_field(view) is None
    with pytest.raises(UserError, match="--category is 'genre', but token columns of the items are: none"):
        category_field(view, "genre")
