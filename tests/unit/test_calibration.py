"""Reliability curves by hand."""

import math

import numpy as np
import pytest

from recbole_nif.analysis.calibration import reliability, rescaled_logloss
from recbole_nif.evaluation.metrics import logloss


def test_bins_have_equal_mass_and_the_error_is_weighted_by_rows():
    curve = reliability(np.array([0, 1, 1, 1]), np.array([0.1, 0.3, 0.6, 0.8]), bins=2)
    assert curve.rows.tolist() == [2, 2]
    assert curve.score == pytest.approx([0.2, 0.7])
    assert curve.rate.tolist() == [0.5, 1]
    assert curve.ece == pytest.approx((0.3 + 0.3) / 2)


def test_equal_scores_share_a_bin_whatever_their_order():
    scores = np.array([0.5, 0.5, 0.5, 0.9])
    curves = [reliability(np.array(labels), scores, bins=4) for labels in ([1, 0, 0, 1], [0, 0, 1, 1])]
    assert [curve.rows.tolist() for curve in curves] == [[3, 1], [3, 1]]
    assert curves[0].ece == curves[1].ece == pytest.approx(0.75 * (0.5 - 1 / 3) + 0.25 * 0.1)


def test_true_probabilities_have_no_error():
    rng = np.random.default_rng(0)
    scores = rng.uniform(size=100_000)
    assert reliability((rng.uniform(size=100_000) < scores).astype(int), scores).ece < 0.01
    assert math.isnan(reliability(np.array([]), np.array([])).ece)


def test_rescaling_repairs_the_scale_and_nothing_else():
    rng = np.random.default_rng(0)
    logit = rng.normal(size=20_000)
    labels = (rng.uniform(size=20_000) < 1 / (1 + np.exp(-logit))).astype(int)
    true, bold = (1 / (1 + np.exp(-scale)) for scale in (logit, 3 * logit + 1))
    assert logloss(labels, bold) > logloss(labels, true) + 0.1
    assert rescaled_logloss(labels, bold) == pytest.approx(logloss(labels, true), abs=1e-3)
    assert rescaled_logloss(labels, bold) == pytest.approx(rescaled_logloss(labels, true), abs=1e-5)
    assert math.isnan(rescaled_logloss(np.ones(3), np.full(3, 0.5)))
