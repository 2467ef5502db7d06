"""AMEN must see what a bag of labelled events cannot: the order of scenes (see tests/planted.py)."""

import statistics

from tests.planted import SEEDS, planted_auc, write_planted


def test_amen_beats_nifdin_with_all_events_labels_and_scenes(tmp_path):
    gains = []
    for seed in SEEDS:  # every seed draws its own log
        folder = write_planted(tmp_path / str(seed), seed=seed)
        gains.append(planted_auc(folder, "AMEN", seed) - planted_auc(folder, "NIFDIN", seed))
    assert statistics.mean(gains) > 0.02
    assert min(gains) > 0
