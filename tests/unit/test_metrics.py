import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from recbole_nif.evaluation.metrics import auc, gauc, logloss, relaimpr


def test_auc_counts_won_pairs_and_half_of_the_tied_ones():
    # clicks score .8 and .5, the others .5 and .1: pairs won 1 + 1 + .5 + 1 of 4
    assert auc(np.array([1, 1, 0, 0]), np.array([0.8, 0.5, 0.5, 0.1])) == 3.5 / 4


def test_auc_is_one_half_when_every_score_is_the_same():
    assert auc(np.array([1, 0, 0, 1, 0]), np.full(5, 0.3)) == 0.5


@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 0, 0], []])
def test_auc_of_one_class_or_no_rows_is_nan(labels):
    assert np.isnan(auc(np.array(labels), np.linspace(0, 1, len(labels))))


def test_auc_and_logloss_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 5000)
    scores = np.round(rng.random(5000), 2)  # many ties
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert logloss(labels, scores) == pytest.approx(
        log_loss(labels, np.clip(scores, 1e-15, 1 - 1e-15)), abs=1e-12
    )


def test_auc_refuses_nan_scores():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        auc(np.array([0, 1]), np.array([0.1, np.nan]))


USERS = np.array([7, 3, 7, 3, 3, 9, 9, 4, 4])
LABELS = np.array([1, 1, 0, 0, 0, 1, 1, 1, 0])
SCORES = np.array([0.9, 0.5, 0.1, 0.5, 0.2, 0.4, 0.6, 0.2, 0.8])
# user 7: 1 of 1 pair (2 rows, 1 click); user 3: 1.5 of 2 (3 rows, 1 click); user 4: 0 of 1 (2 rows, 1 click)
# user 9 has clicks only and is skipped


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ("impressions", (2 * 1.0 + 3 * 0.75 + 2 * 0.0) / 7),
        ("clicks", (1.0 + 0.75 + 0.0) / 3),
        ("uniform", (1.0 + 0.75 + 0.0) / 3),
    ],
)
def test_gauc_averages_user_aucs_with_the_chosen_weight(weight, expected):
    assert gauc(USERS, LABELS, SCORES, weight).value == pytest.approx(expected, abs=1e-15)


def test_gauc_click_weight_differs_from_uniform_when_clicks_differ():
    users = np.array([1, 1, 1, 2, 2])
    labels = np.array([1, 1, 0, 1, 0])
    scores = np.array([0.9, 0.8, 0.1, 0.2, 0.3])
    assert gauc(users, labels, scores, "clicks").value == pytest.approx(2 / 3)
    assert gauc(users, labels, scores, "uniform").value == pytest.approx(1 / 2)
    assert gauc(users, labels, scores, "impressions").value == pytest.approx(3 / 5)


def test_gauc_tells_what_it_covers():
    result = gauc(USERS, LABELS, SCORES)
    assert (result.users, result.users_covered, result.rows, result.rows_covered) == (4, 3, 9, 7)
    assert result.weight == "impressions"


def test_gauc_without_a_user_of_both_classes_is_nan_and_covers_nothing():
    result = gauc(np.arange(4), np.array([0, 1, 0, 1]), np.arange(4.0))
    assert np.isnan(result.value)
    assert (result.users, result.users_covered, result.rows_covered) == (4, 0, 0)


def test_gauc_does_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(1)
    shuffled = rng.permutation(len(USERS))
    assert gauc(USERS[shuffled], LABELS[shuffled], SCORES[shuffled]) == gauc(USERS, LABELS, SCORES)


def test_gauc_agrees_with_scikit_learn_user_by_user():
    rng = np.random.default_rng(2)
    users = rng.integers(0, 300, 4000)
    labels = (rng.random(4000) < 0.7).astype(int)
    scores = np.round(rng.random(4000), 1).astype(np.float32)
    total, weight = 0.0, 0
    for user in np.unique(users):
        mine = users == user
        if 0 < labels[mine].sum() < mine.sum():
            total += mine.sum() * roc_auc_score(labels[mine], scores[mine])
            weight += mine.sum()
    assert gauc(users, labels, scores).value == pytest.approx(total / weight, abs=1e-12)


def test_gauc_refuses_an_unknown_weight():
    with pytest.raises(ValueError, match="impressions, clicks, uniform"):
        gauc(USERS, LABELS, SCORES, weight="rows")


def test_logloss_of_a_certain_mistake_is_clipped_as_in_recbole():
    assert logloss(np.array([0]), np.array([1.0])) == pytest.approx(-np.log(1e-15), rel=1e-3)
    assert logloss(np.array([1, 0]), np.array([0.8, 0.4])) == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)


def test_relaimpr_reproduces_the_deepfm_row_of_the_genci_table():
    assert relaimpr(0.8908, 0.8577) == pytest.approx(9.25, abs=5e-3)
    assert np.isnan(relaimpr(0.7, 0.5))
