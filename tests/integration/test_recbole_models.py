"""RecBole's own CTR models run through our pipeline, on the rows of ours."""

import json
from pathlib import Path

import pytest

from recbole_nif import run_recbole_nif
from recbole_nif.registry import model_names
from tests.toy import toy_config, write_toy

NOT_LABELLED_ROWS = {"AMEN", "GenCI", "NIFDIN", "NIFDIEN"}  # ours, tested elsewhere
EXTRA = {"FFM": {"fields": None}, "KD_DAGFM": {"phase": "teacher_training"}}


@pytest.mark.parametrize("model", [name for name in model_names() if name not in NOT_LABELLED_ROWS])
def test_a_model_of_recbole_trains_and_is_tested_on_our_rows(model, tmp_path):
    write_toy(tmp_path)
    settings = toy_config(tmp_path, model).resolved() | {"epochs": 1, **EXTRA.get(model, {})}
    result = run_recbole_nif(config_dict=settings)
    assert 0 <= result["test_result"]["auc"] <= 1
    record = json.loads((Path(result["run_dir"]) / "result.json").read_text())
    assert record["model"] == model
    assert (record["rows"]["train"], record["rows"]["valid"], record["rows"]["test"]) == (17, 2, 2)
