import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from recbole_nif.evaluation.compare import METRICS, Resampled, delong, paired_differences, resample_users
from recbole_nif.evaluation.metrics import auc, gauc, logloss
from recbole_nif.evaluation.scored_rows import ScoredRows


def scored(user, label, score):
    return ScoredRows(np.arange(len(user)), *map(np.array, (user, label, score)))


def random_rows(rng, users=40, rows=600, ties=True):
    label = rng.integers(0, 2, rows)
    score = 1 / (1 + np.exp(-(rng.normal(size=rows) + label)))
    return scored(rng.integers(users, size=rows), label, np.round(score, 2) if ties else score)


# --- DeLong


def test_delong_of_four_rows_is_what_a_hand_computes():
    labels = np.array([1, 1, 0, 0])
    first, second = np.array([0.9, 0.4, 0.5, 0.1]), np.array([0.6, 0.8, 0.7, 0.7])
    # clicks: shares of the others below them 1, .5 and 0, 1
    # others: shares of the clicks above them .5, 1 and .5, .5
    # differences: clicks 1, -.5 (variance 1.125), others 0, .5 (variance .125); AUC .75 - .5
    test = delong(labels, first, second)
    assert test.difference == 0.25
    assert test.standard_error == pytest.approx(math.sqrt(1.125 / 2 + 0.125 / 2))
    assert test.low == pytest.approx(0.25 - 1.959964 * test.standard_error, abs=1e-6)
    assert test.high == pytest.approx(0.25 + 1.959964 * test.standard_error, abs=1e-6)
    assert test.p_value == pytest.approx(2 * (1 - 0.6240851), abs=1e-6)  # z = .316228


def test_delong_agrees_with_all_pairs_and_their_covariance_matrix():
    rng = np.random.default_rng(1)
    rows = random_rows(rng, rows=300)
    scores = np.stack([rows.score, np.round(rows.score + rng.normal(size=300) / 3, 1)])
    clicks, others = scores[:, rows.label == 1], scores[:, rows.label == 0]  # [2, m], [2, n]
    lead = clicks[:, :, None] - others[:, None, :]
    won = (lead > 0) + 0.5 * (lead == 0)  # [2, m, n]
    covariance = np.cov(won.mean(2)) / won.shape[1] + np.cov(won.mean(1)) / won.shape[2]  # [2, 2]
    test = delong(rows.label, *scores)
    assert test.difference == pytest.approx(won[0].mean() - won[1].mean(), abs=1e-12)
    expected = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert test.standard_error == pytest.approx(expected, rel=1e-10)


def test_delong_of_a_score_with_itself_finds_no_difference():
    rows = random_rows(np.random.default_rng(2))
    test = delong(rows.label, rows.score, rows.score)
    assert (test.difference, test.standard_error, test.p_value) == (0, 0, 1)


def test_delong_with_one_click_is_undefined():
    assert math.isnan(delong(np.array([1, 0, 0]), np.arange(3), np.arange(3)).p_value)


# --- bootstrap over users


def test_unweighted_values_are_the_metrics():
    rows = random_rows(np.random.default_rng(3))
    for weight in ("impressions", "clicks", "uniform"):
        values = resample_users(rows, np.unique(rows.user), weight, resamples=1).values
        expected = [
            auc(rows.label, rows.score),
            gauc(rows.user, rows.label, rows.score, weight).value,
            logloss(rows.label, rows.score),
        ]
        assert values == pytest.approx(expected, abs=1e-12)


def test_a_draw_is_the_metrics_of_the_rows_of_the_drawn_users():
    rows = random_rows(np.random.default_rng(4))
    population = np.arange(50)  # ten of them have no rows
    draws = resample_users(rows, population, resamples=3, seed=9).draws
    rng = np.random.default_rng(9)
    for draw in draws:
        times = np.bincount(rng.integers(50, size=50), minlength=50)[rows.user]
        again = np.repeat(np.arange(600), times)
        copy = np.concatenate([np.arange(count) for count in times])  # a user drawn twice counts as two users
        users = rows.user[again] * 100 + copy
        assert draw[0] == pytest.approx(roc_auc_score(rows.label, rows.score, sample_weight=times), abs=1e-12)
        assert draw[1] == pytest.approx(gauc(users, rows.label[again], rows.score[again]).value, abs=1e-12)
        assert draw[2] == pytest.approx(logloss(rows.label[again], rows.score[again]), abs=1e-12)


def test_runs_with_the_same_seed_draw_the_same_users():
    rows = random_rows(np.random.default_rng(5))
    first, second = (resample_users(rows, np.arange(40), resamples=5, seed=seed) for seed in (0, 0))
    assert np.array_equal(first.draws, second.draws)
    difference = paired_differences([first], [second])["auc"]
    assert (difference.value, difference.low, difference.high, difference.excludes_zero) == (0, 0, 0, False)
    assert not np.array_equal(first.draws, resample_users(rows, np.arange(40), resamples=5, seed=1).draws)


def test_seeds_are_averaged_draw_by_draw():
    def run(value, *draws):
        return Resampled(np.full(3, value), np.repeat(np.array(draws)[:, None], 3, axis=1))

    first = [run(0.8, 0.8, 0.7, 0.9), run(0.9, 0.9, 0.9, 0.8)]
    second = [run(0.7, 0.6, 0.7, 0.7), run(0.7, 0.7, 0.8, 0.7)]
    differences = paired_differences(first, second)  # draws: (.2, 0, .2) and (.2, .1, .1) -> .2, .05, .15
    assert list(differences) == list(METRICS)
    for difference in differences.values():
        assert difference.by_seed == pytest.approx((0.1, 0.2))
        assert difference.value == pytest.approx(0.15)
        assert difference.low == pytest.approx(0.05 + 0.05 * 0.1)  # 2.5 % of the way along .05, .15, .2
        assert difference.high == pytest.approx(0.2 - 0.05 * 0.05)
        assert difference.excludes_zero


def test_users_with_one_class_leave_gauc_undefined_and_the_rest_not():
    values = resample_users(
        scored([1, 1, 2], [1, 1, 0], [0.9, 0.8, 0.5]), np.array([1, 2]), resamples=1
    ).values
    assert values[0] == 1.0 and math.isnan(values[1]) and values[2] == pytest.approx(0.3405504, abs=1e-6)


def test_intervals_of_two_equally_noisy_scores_cover_zero_about_95_times_in_100():
    rng = np.random.default_rng(6)
    trials, users, of_user = 200, 80, 6
    covered = np.zeros(3)
    for trial in range(trials):
        user = np.repeat(np.arange(users), of_user)
        truth = rng.normal(size=users * of_user)
        label = (rng.random(len(truth)) < 1 / (1 + np.exp(-truth))).astype(int)
        noisy = (1 / (1 + np.exp(-(truth + rng.normal(size=len(truth))))) for _ in range(2))
        first, second = (scored(user, label, score) for score in noisy)
        resampled = [resample_users(r, np.arange(users), resamples=120, seed=trial) for r in (first, second)]
        test = delong(label, first.score, second.score)
        found = paired_differences(resampled[:1], resampled[1:])
        covered += [test.low < 0 < test.high, *(not found[name].excludes_zero for name in ("auc", "gauc"))]
    assert ((0.89 * trials <= covered) & (covered <= 0.99 * trials)).all(), covered
