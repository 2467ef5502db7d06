"""On the real ml-100k: counts, exact splits, RecBole's rescaled time, and AMEN through both stages."""

import json
from pathlib import Path

import pandas
import pytest
import torch

from recbole_nif import run_recbole_nif
from recbole_nif.config import NIFConfig
from recbole_nif.data import fields
from recbole_nif.data.dataset import CTRDataset


def build(model="LR", **overrides):
    return CTRDataset(NIFConfig(model, "ml-100k", config_dict={"device": "cpu", **overrides})).build()


def row_ids(parts):
    return [sorted(part.inter_feat[fields.ROW_ID].tolist()) for part in parts]


@pytest.fixture(scope="module")
def parts():
    return build()


def test_the_label_rule_leaves_the_known_counts(parts):
    assert sum(len(part) for part in parts) == 72855
    assert (parts[0].user_num - 1, parts[0].item_num - 1) == (943, 1642)
    assert [len(part) for part in parts] == [59169, 6843, 6843]


@pytest.mark.parametrize(
    "model", ["DeepFM", "DCNV2", "recbole.DIN", "recbole.DIEN", "NIFDIN", "NIFDIEN", "GenCI", "AMEN"]
)
def test_every_model_trains_validates_and_tests_on_the_same_rows(model, parts):
    assert row_ids(build(model)) == row_ids(parts)


@pytest.mark.parametrize("preset", ["global_time", "random", "leave_one_out"])
def test_a_split_preset_covers_every_row_once(preset):
    rows = [row for part in row_ids(build(split_preset=preset)) for row in part]
    assert sorted(rows) == list(range(72855))


def test_with_the_time_that_recboles_yaml_rescales_the_rows_and_ties_stay(parts):
    scaled = build(normalize_all=True)
    assert row_ids(scaled) == row_ids(parts)
    assert torch.equal(scaled[0].event_log.tie_begin, parts[0].event_log.tie_begin)
    assert int(parts[0].event_log.timestamp.min()) == 874724710


def test_ties_are_those_of_the_file(parts):
    log = parts[0].event_log
    path = Path(parts[0].dataset_path) / "ml-100k.inter"
    rows = pandas.read_csv(path, sep="\t", names=["user", "item", "rating", "time"], skiprows=1)
    kept = rows[rows.rating != 3]
    assert len(log.tie_begin.unique()) == kept.groupby(["user", "time"]).ngroups


def test_most_rows_have_a_partner_at_an_earlier_time(parts):
    """models.md 2.7: 98.7 % of the rows have an opposite-label partner, 88.3 % a strictly earlier one."""
    from recbole_nif.data.pairs import PairSampler

    log = parts[0].event_log
    every_row = torch.arange(72855)
    drawn = PairSampler(log, every_row, partner="random", ratio=1.0).draw(0)
    has_partner = drawn >= 0
    assert has_partner.double().mean().item() == pytest.approx(0.987, abs=0.003)
    earlier = log.position[drawn[has_partner]] < log.position[every_row[has_partner]]
    assert (earlier.double().sum() / 72855).item() == pytest.approx(0.883, abs=0.003)


def test_amen_runs_both_stages(tmp_path):
    settings = {"device": "cpu", "epochs": 1, "pretrain_epochs": 1, "show_progress": False}
    result = run_recbole_nif("AMEN", "ml-100k", config_dict=settings | {"run_dir": str(tmp_path / "run")})
    record = json.loads(Path(result["run_dir"], "result.json").read_text())
    assert [stage["name"] for stage in record["stages"]] == ["pretrain", "finetune"]
    assert [record["rows"][part] for part in ("train", "valid", "test")] == [59169, 6843, 6843]
    assert record["test"]["auc"] > record["baselines"]["item_rate"]["auc"]
    for name in ("pretrain-best.pt", "finetune-best.pt"):
        assert Path(result["run_dir"], "checkpoints", name).is_file()


def test_amen_with_semantic_targets_runs_both_stages_and_counts_rows_of_rare_items(tmp_path):
    settings = {"device": "cpu", "epochs": 1, "pretrain_epochs": 1, "show_progress": False}
    settings |= {"hidden_size": 16, "moveline_length": 20, "moveline_stride": 10, "mlp_hidden_size": [16]}
    settings |= {"flow_targets": "semantic", "text_encoder": "features", "quantizer": "kmeans"}
    settings |= {
        "run_dir": str(tmp_path / "run"),
        "checkpoint_dir": str(tmp_path),
        "pretrain_eval_rows": 2000,
    }
    result = run_recbole_nif("AMEN", "ml-100k", config_dict=settings)
    record = json.loads(Path(result["run_dir"], "result.json").read_text())
    pretrain, _ = record["stages"]
    assert 0 < pretrain["facts"]["probe_cold_rows"] < pretrain["facts"]["probe_clicked_rows"]
    assert 0 <= pretrain["valid"]["cold_recall@50"] <= 1
    assert record["semantic_ids"]["health"]["levels"][0]["used"] > 1
    assert 0 < record["test"]["auc"] < 1


def test_a_runs_config_reproduces_it(tmp_path):
    settings = {"device": "cpu", "epochs": 1, "show_progress": False, "run_dir": str(tmp_path / "first")}
    first = run_recbole_nif("NIFDIN", "ml-100k", config_dict=settings)
    config_file = Path(first["run_dir"], "config.yaml")
    again = run_recbole_nif(config_file_list=[config_file], config_dict={"run_dir": str(tmp_path / "again")})
    assert again["test_result"] == first["test_result"]
