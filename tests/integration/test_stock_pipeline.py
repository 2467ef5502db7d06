"""``register()`` in a RecBole pipeline that already exists: our models run, RecBole's stay what they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import recbole_nif
from recbole_nif.errors import UserError
from recbole_nif.registry import MODELS
from recbole_nif.trainer import checkpoint

ROOT = Path(__file__).resolve().parents[2]

# The busiest users of ml-100k, one epoch a stage, small layers.
SMALL = {
    "user_inter_num_interval": "[350,inf)",
    "epochs": 1,
    "pretrain_epochs": 1,
    "learning_rate": 0.01,
    "mlp_hidden_size": [16],
    "hidden_size": 16,
    "show_progress": False,
    "use_gpu": False,
}


@pytest.fixture(scope="module")
def quick_start():
    recbole_nif.register()
    import recbole.quick_start

    return recbole.quick_start


def settings(model, folder):
    config = {**SMALL, "run_dir": str(folder / "run"), "checkpoint_dir": str(folder / "saved")}
    if model not in ("AMEN", "GenCI"):
        del config["hidden_size"]
    if model != "AMEN":
        del config["pretrain_epochs"]
    if model == "GenCI":
        config |= {"text_encoder": "features", "quantizer": "kmeans"}
        config["semantic_id_cache"] = str(folder.with_name("semantic_ids"))
    return config


@pytest.mark.parametrize("model", MODELS)
def test_run_recbole_trains_all_stages_and_a_saved_run_scores_as_an_unsaved_one(
    model, quick_start, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # RecBole's logger writes log/ into the current folder
    monkeypatch.setattr("sys.argv", ["program", "--no_key_of_ours=1"])  # RecBole's Config reads it
    saved = quick_start.run_recbole(model, "ml-100k", config_dict=settings(model, tmp_path))
    assert {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"} == set(saved)
    assert 0.5 < saved["test_result"]["auc"] < 1.0
    files = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    stages = ("pretrain", "finetune") if model == "AMEN" else ("finetune",)
    assert files == {f"{stage}-{kind}.pt" for stage in stages for kind in ("best", "last")}

    unsaved = quick_start.run_recbole(
        model, "ml-100k", config_dict=settings(model, tmp_path / "b"), saved=False
    )
    assert unsaved == saved
    assert not (tmp_path / "b").exists()

    file = tmp_path / "run" / "checkpoints" / "finetune-best.pt"
    config, loaded, dataset, _, _, test = quick_start.load_data_and_model(str(file))
    assert (config["model"], dataset.dataset_name) == (model, "ml-100k")
    from recbole.utils import get_trainer

    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, loaded)
    assert trainer.evaluate(test, load_best_model=False) == pytest.approx(saved["test_result"], abs=1e-4)


def test_recboles_hyper_parameter_search_tries_our_model(quick_start, tmp_path, monkeypatch):
    from recbole.trainer import HyperTuning

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["search"])  # RecBole's Config reads it
    fixed = settings("NIFDIN", tmp_path) | {"model": "NIFDIN", "dataset": "ml-100k"}
    Path("fixed.yaml").write_text(json.dumps(fixed))
    Path("space.txt").write_text("learning_rate choice [0.0001, 0.01]\n")
    tuning = HyperTuning(
        lambda values, files: quick_start.objective_function(values, files, saved=False),
        algo="exhaustive",
        params_file="space.txt",
        fixed_config_file_list=["fixed.yaml"],
    )
    tuning.run()
    assert set(tuning.params2result) == {"learning_rate:0.0001", "learning_rate:0.01"}
    first, second = (result["best_valid_score"] for result in tuning.params2result.values())
    assert first != second and tuning.best_score == max(first, second)


def test_a_pickle_is_refused_by_load_data_and_model_and_its_code_does_not_run(quick_start, tmp_path):
    class Touch:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    file = tmp_path / "finetune-best.pt"
    torch.save({"format": checkpoint.FORMAT, "config": Touch()}, file)
    with pytest.raises(UserError, match="finetune-best.pt is not a checkpoint of recbole_nif"):
        quick_start.load_data_and_model(str(file))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"some text\nof two lines", b"\x80\x02", b"PK\x03\x04 torn"])
def test_what_is_no_checkpoint_at_all_is_refused_in_one_sentence(quick_start, tmp_path, content):
    file = tmp_path / "notes.txt"
    file.write_bytes(content)
    with pytest.raises(UserError, match="notes.txt is not a checkpoint of recbole_nif"):
        quick_start.load_data_and_model(str(file))
    with pytest.raises(UserError, match="Checkpoint .*missing.pt does not exist"):
        quick_start.load_data_and_model(str(tmp_path / "missing.pt"))


STOCK_RUN = """
import json, sys
{before}
from recbole.quick_start import run_recbole
{after}
settings = json.loads(sys.argv.pop())
result = run_recbole(settings.pop("model"), "ml-100k", config_dict=settings, saved=False)
print(json.dumps([result["best_valid_result"], result["test_result"]]))
"""
REGISTER = "import recbole_nif; recbole_nif.register()"
STOCK = {
    "DeepFM": {"eval_args": {"mode": "labeled"}, "threshold": {"rating": 4}, "metrics": ["AUC", "LogLoss"]},
    "DIN": {"load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}, "threshold": {"rating": 4}},
}


@pytest.mark.parametrize("model", STOCK)
def test_recboles_own_models_give_the_same_digits_with_and_without_us(model, tmp_path):
    given = {**SMALL, **STOCK[model], "model": model, "valid_metric": "AUC", "metrics": ["AUC", "LogLoss"]}
    for key in ("pretrain_epochs", "hidden_size"):
        del given[key]
    outcomes = []
    for before, after in (("", ""), (REGISTER, ""), ("", REGISTER)):
        code = STOCK_RUN.format(before=before, after=after)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, json.dumps(given)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=300,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        outcomes.append(done.stdout.strip().splitlines()[-1])
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert "auc" in outcomes[0]
