"""The schema of result.json: what is kept follows it, and so does what every kind of run writes."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from recbole_nif.quick_start import run_recbole_nif
from recbole_nif.results import READABLE, RESULT_SCHEMA, SCHEMA
from tests.integration.test_genci_runs import IDS, SIZES, random_rows
from tests.toy import toy_config, write_toy
from tests.unit.trainer_doubles import TwoStage

DOCUMENT = json.loads(RESULT_SCHEMA.read_text(encoding="utf-8"))
RESULTS = RESULT_SCHEMA.parents[1] / "results"
KEPT = sorted(file for file in RESULTS.glob("*/*.json"))


def complaints(record):
    return [error.message for error in Draft202012Validator(DOCUMENT).iter_errors(record)]


def run(folder: Path, model, **settings) -> dict:
    """The record of a run of one epoch on small random data."""
    write_toy(folder, random_rows())
    config = toy_config(folder, model, epochs=1, **settings)
    result = run_recbole_nif(config_dict=config.resolved())
    return json.loads((Path(result["run_dir"]) / "result.json").read_text())


def test_the_schema_is_one_and_covers_the_versions_that_can_be_read():
    Draft202012Validator.check_schema(DOCUMENT)
    assert tuple(DOCUMENT["properties"]["schema"]["enum"]) == READABLE and READABLE[-1] == SCHEMA


def test_every_field_says_what_it_is():
    named = DOCUMENT["properties"]
    assert [name for name in named if not described(named[name])] == []


def described(field):
    """Whether a field, or everything in it, has a description."""
    inside = field.get("properties", {}).values()
    return "description" in field or (bool(inside) and all(map(described, inside)))


@pytest.mark.parametrize("file", KEPT, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_the_records_in_results_follow_it(file):
    assert complaints(json.loads(file.read_text())) == []


def test_there_are_records_in_results():
    assert len(KEPT) > 40 or not RESULTS.is_dir()  # an sdist has none


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("DeepFM", {}),
        ("DeepFM", {"split_preset": "leave_one_out"}),
        ("AMEN", {"pretrain_epochs": 1, "embedding_size": 4, "moveline_length": 6}),
        ("GenCI", IDS | SIZES | {"MAX_ITEM_LIST_LENGTH": 6}),
    ],
)
def test_what_a_run_writes_follows_it(tmp_path, model, settings):
    record = run(tmp_path, model, **settings)
    assert complaints(record) == [] and record["schema"] == SCHEMA
    assert record["scoring"]["rows"] == record["rows"]["test"] and record["scoring"]["batch_size"] == 8
    assert 0 < record["scoring"]["seconds"] <= record["durations"]["evaluate"]


def test_a_run_of_stage_1_alone_follows_it(tmp_path):
    write_toy(tmp_path, random_rows())
    settings = toy_config(tmp_path, TwoStage, epochs=1, train_stage="pretrain").resolved()
    folder = run_recbole_nif(TwoStage, "toy", config_dict=settings)["run_dir"]
    record = json.loads((Path(folder) / "result.json").read_text())
    assert complaints(record) == [] and record["test"] is None and record["scoring"] is None


def test_it_refuses_what_is_no_record(tmp_path):
    record = run(tmp_path, "LR")
    assert complaints(record) == []
    early = {
        key: value for key, value in record.items() if key not in ("settings", "semantic_ids", "scoring")
    }
    assert complaints(early) != [] and complaints(early | {"schema": 1}) == []
    changes = [
        {"schema": 3},
        {"schema": 1},
        {"seed": "2020"},
        {"auc": 0.8},
        {"test": {"auc": 0.8}},
        {"stages": []},
    ]
    assert [change for change in changes if not complaints(record | change)] == []
