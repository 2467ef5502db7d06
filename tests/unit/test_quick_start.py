import json
from pathlib import Path

import pytest

from recbole_nif.errors import UserError
from recbole_nif.evaluation.metrics import auc
from recbole_nif.evaluation.scored_rows import ScoredRows
from recbole_nif.quick_start import run_recbole_nif
from tests.toy import toy_config, write_toy
from tests.unit.test_trainer import random_rows
from tests.unit.trainer_doubles import TwoStage

RESULT_KEYS = {
    "schema", "model", "dataset", "seed", "settings", "split", "history", "rows", "source", "semantic_ids",
    "stages", "valid", "test", "baselines", "scoring", "parameters", "durations", "peak_memory_mb",
    "versions", "device", "threads", "git_commit", "date",
}  # fmt: skip


@pytest.fixture
def settings(tmp_path):
    """The toy settings as a user would give them."""
    write_toy(tmp_path, random_rows())
    given = toy_config(tmp_path).resolved()
    names = ("data_path", "checkpoint_dir", "load_col", "threshold", "scene_field", "moveline_length")
    names += (
        "moveline_stride",
        "train_batch_size",
        "eval_batch_size",
        "device",
        "show_progress",
        "tensorboard",
    )
    return {name: given[name] for name in names} | {"epochs": 2, "run_dir": str(tmp_path / "run")}


def test_a_run_leaves_its_folder_and_returns_what_run_recbole_returns(settings, tmp_path, capsys):
    returned = run_recbole_nif("DeepFM", "toy", config_dict=settings)
    assert set(returned) == {
        "best_valid_score", "valid_score_bigger", "best_valid_result", "test_result", "run_dir",
    }  # fmt: skip
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "train.log", "checkpoints", "test_scores.npz", "result.json",
    }  # fmt: skip
    record = json.loads((run / "result.json").read_text())
    assert set(record) == RESULT_KEYS
    assert record["test"]["auc"] == returned["test_result"]["auc"]
    assert record["valid"] == pytest.approx(dict(returned["best_valid_result"]))
    assert record["rows"]["train"] + record["rows"]["valid"] + record["rows"]["test"] == 240
    assert (record["rows"]["users"], record["parameters"] > 0) == (6, True)
    scored = ScoredRows.load(run / "test_scores.npz")
    assert len(scored.row_id) == record["rows"]["test"]
    assert auc(scored.label, scored.score) == record["test"]["auc"]
    assert set(record["durations"]) == {"data", "finetune", "evaluate", "total"}
    last_lines = capsys.readouterr().out.strip().splitlines()
    assert last_lines[-1] == str(run / "result.json")
    assert last_lines[-3].startswith("| DeepFM epochs=2 ")
    assert record["settings"]["epochs"] == 2 and "data_path" not in record["settings"]


def test_the_stored_configuration_reproduces_the_run(settings, tmp_path):
    first = run_recbole_nif("DeepFM", "toy", config_dict=settings)
    stored = tmp_path / "run" / "config.yaml"
    again = run_recbole_nif(config_file_list=[stored], config_dict={"run_dir": str(tmp_path / "again")})
    assert again["test_result"] == first["test_result"]
    assert (tmp_path / "again" / "config.yaml").read_text() == stored.read_text()


def test_stage_1_alone_has_no_test_result(settings, tmp_path):
    returned = run_recbole_nif(TwoStage, "toy", config_dict=settings | {"train_stage": "pretrain"})
    assert returned["test_result"] is None
    assert returned["best_valid_score"] == returned["best_valid_result"]["recall@50"]
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert not (tmp_path / "run" / "test_scores.npz").exists()
    assert record["test"] is None and [stage["name"] for stage in record["stages"]] == ["pretrain"]


def test_the_same_folder_is_not_used_twice(settings):
    run_recbole_nif("DeepFM", "toy", config_dict=settings, saved=False)
    assert not (Path(settings["run_dir"]) / "checkpoints").exists()
    with pytest.raises(UserError, match="is not empty"):
        run_recbole_nif("DeepFM", "toy", config_dict=settings)
