"""GenCI through the trainer on small data: stages, what the report holds, presets, and that nothing leaks."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_nif import run_recbole_nif
from recbole_nif.audit.leaks import audit_model
from recbole_nif.config import NIFConfig
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from tests.toy import toy_config, write_toy

IDS = {"text_encoder": "features", "quantizer": "kmeans", "code_levels": 2, "codebook_size": 3}
SIZES = {"hidden_size": 8, "head_size": 4, "inner_size": 8, "n_heads": 2, "mlp_hidden_size": [8]}
FORMS = [
    {},
    {"encode": "window", "beam_width": 3},
    {"encoder_input": "tokens", "history": "all_with_label"},
    {"encoder_input": "tokens", "encode": "window"},
]


def random_rows(users: int = 12, events: int = 25) -> list[tuple]:
    """Ten items; about one event in three shares its second with the one before."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(users):
        times = 1_000_000_000 + np.cumsum(rng.integers(0, 3, events) * 60)
        items, ratings = rng.integers(1, 11, events), rng.choice([1, 5], events)
        rows += [(f"u{user}", f"m{i}", int(r), int(t)) for i, r, t in zip(items, ratings, times, strict=True)]
    return rows


def settings(folder: Path, **overrides) -> NIFConfig:
    return toy_config(folder, "GenCI", **IDS, **SIZES, MAX_ITEM_LIST_LENGTH=6, **overrides)


def run(folder: Path, **overrides) -> dict:
    """Trains on the random rows and returns what result.json holds."""
    write_toy(folder, random_rows())
    config = settings(folder, **{"epochs": 2, "stopping_step": 5} | overrides)
    result = run_recbole_nif(config_dict=config.resolved())
    return json.loads((Path(result["run_dir"]) / "result.json").read_text())


def test_a_run_reports_what_the_generated_codes_know(tmp_path):
    record = run(tmp_path)
    (stage,) = record["stages"]
    assert set(stage["curve"][0]["loss"]) == {"bce", "ntp", "sr"}
    rates = {f"{prefix}code_hit@{level}" for prefix in ("", "train_", "popular_") for level in (1, 2)}
    rates |= {"code_hit@all", "train_code_hit@all"}
    assert rates == set(stage["facts"])
    assert all(0 <= stage["facts"][name] <= 1 for name in rates)
    assert stage["facts"]["code_hit@all"] <= stage["facts"]["code_hit@1"]
    assert record["semantic_ids"]["source"].startswith("features")


def test_a_pretrained_teacher_is_a_stage_of_its_own(tmp_path):
    record = run(tmp_path, sr_teacher="pretrained", teacher_epochs=1)
    teacher, finetune = record["stages"]
    assert (teacher["name"], finetune["name"]) == ("teacher", "finetune")
    assert (teacher["epochs_run"], teacher["checkpoint"]) == (1, "teacher-best.pt")
    assert 0 <= teacher["valid"]["auc"] <= 1
    folder = next((tmp_path / "saved").glob("GenCI*")) / "checkpoints"
    alone = torch.load(folder / "teacher-best.pt", weights_only=True)["state_dict"]
    whole = torch.load(folder / "finetune-best.pt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, whole[f"teacher.{name}"]) for name, value in alone.items())


def test_a_teacher_that_is_left_out_is_told(tmp_path):
    with pytest.raises(UserError, match="leaves out the stage that trains the teacher"):
        run(tmp_path, sr_teacher="pretrained", train_stage="finetune")


def test_the_official_choices_are_a_layer_below_the_users_own(tmp_path):
    write_toy(tmp_path)
    config = settings(tmp_path, preset="official_code", ntp_targets="clicked")
    assert (config["encode"], config["decoding"], config["cohort_mean"]) == ("window", "free", "padded")
    assert config["ntp_targets"] == "clicked"
    again = NIFConfig(config_dict=config.resolved())
    assert again["ntp_targets"] == "clicked" and again["encode"] == "window"
    with pytest.raises(UserError, match="preset must be one of official_code"):
        settings(tmp_path, preset="official")


def test_windows_begin_at_least_once_in_their_length(tmp_path):
    write_toy(tmp_path)
    with pytest.raises(
        UserError, match=r"history_stride is 7: it must be between 1 and MAX_ITEM_LIST_LENGTH"
    ):
        CTRDataset(settings(tmp_path, history_stride=7)).build()


@pytest.mark.parametrize("overrides", FORMS, ids=str)
def test_no_score_moves_with_its_own_label_or_later_events(tmp_path, overrides):
    write_toy(tmp_path, random_rows())
    config = settings(tmp_path, **overrides)
    views = CTRDataset(config).build()
    torch.manual_seed(0)
    model = config.model_class(config, views[0])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    report = audit_model(config, model, views, passes=2)
    own, later, earlier = report.score_tests
    assert report.leaks == []
    assert own.events and later.events and earlier.moved
