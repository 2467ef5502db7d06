"""AMEN must see what a bag of labelled events cannot: the order of scenes (see tests/planted.py)."""

import statistics

import pytest

from recbole_nif import run_recbole_nif
from tests.planted import PLANTED, write_planted

SEEDS = (1, 2, 3, 4, 5)
SMALL = {
    "epochs": 6,
    "stopping_step": 6,
    "learning_rate": 0.004,
    "train_batch_size": 256,
    "mlp_hidden_size": [64, 32],
    "dropout_prob": 0.0,
    "moveline_length": 10,
    "moveline_stride": 5,
    "MAX_ITEM_LIST_LENGTH": 10,
    "history": "all_with_label",
    "show_progress": False,
    "tensorboard": False,
    "device": "cpu",
}
AMEN = {
    "hidden_size": 32,
    "pretrain_epochs": 3,
    "pretrain_batch_size": 64,
    "nce_in_batch": 128,
    "nce_uniform": 32,
}


def test_auc(folder, model: str, seed: int, **overrides) -> float:
    settings = {**PLANTED, **SMALL, "data_path": str(folder), "seed": seed, **overrides}
    settings["checkpoint_dir"] = str(folder / "saved")
    result = run_recbole_nif(model, "planted", config_dict=settings, saved=False)
    return result["test_result"]["auc"]


test_auc.__test__ = False  # a helper whose name says what it returns


@pytest.fixture(scope="module")
def aucs(tmp_path_factory):
    """Test AUC per model and seed; each seed draws its own log."""
    found = {"NIFDIN": [], "AMEN": [], "AMEN without TSP": []}
    for seed in SEEDS:
        folder = write_planted(tmp_path_factory.mktemp(f"seed{seed}"), seed=seed)
        found["NIFDIN"].append(test_auc(folder, "NIFDIN", seed, history_scene=True))
        found["AMEN"].append(test_auc(folder, "AMEN", seed, **AMEN))
        found["AMEN without TSP"].append(test_auc(folder, "AMEN", seed, **AMEN, tsp_mode="none"))
    return found


def test_amen_beats_nifdin_with_all_events_labels_and_scenes(aucs):
    gains = [amen - din for amen, din in zip(aucs["AMEN"], aucs["NIFDIN"], strict=True)]
    assert statistics.mean(gains) > 0.02
    assert min(gains) > 0


def test_the_effect_of_tsp_is_reported(aucs, record_property, capsys):
    """No sign is claimed: the difference is printed (``pytest -s`` or the junit file)."""
    gains = [
        with_tsp - without for with_tsp, without in zip(aucs["AMEN"], aucs["AMEN without TSP"], strict=True)
    ]
    record_property("tsp_gain_auc", statistics.mean(gains))
    with capsys.disabled():
        means = {name: round(statistics.mean(values), 4) for name, values in aucs.items()}
        print(f"\nplanted log, mean test AUC over {len(SEEDS)} seeds: {means}")
    assert all(0.5 < value <= 1 for value in aucs["AMEN without TSP"])
