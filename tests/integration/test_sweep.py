"""Sweeps of real runs on a small data set: tables, a kill -9, winners that later runs find."""

import multiprocessing
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import recbole_nif
from recbole_nif import cli, config_layers
from recbole_nif.config import NIFConfig
from recbole_nif.resources import props_dir
from recbole_nif.results import read_result
from recbole_nif.sweep.child import Pruned, train
from recbole_nif.sweep.ledger import RunFailed
from recbole_nif.sweep.sweep_file import read_sweep
from tests.toy import toy_config, write_toy
from tests.unit.run_doubles import table_lines
from tests.unit.test_trainer import random_rows

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
ROOT = Path(recbole_nif.__file__).resolve().parents[1]
BROKEN = """\
from recbole_nif.model.din import NIFDIN


class Broken(NIFDIN):
    def __init__(self, config, dataset):
        raise ValueError("this model cannot be built")
"""


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Writes a sweep file on the toy data, and gives the command line that does it."""
    write_toy(tmp_path, random_rows())
    given = toy_config(tmp_path).resolved()
    names = (
        "data_path",
        "load_col",
        "threshold",
        "train_batch_size",
        "eval_batch_size",
        "device",
        "tensorboard",
    )
    settings = {name: given[name] for name in names} | {"epochs": 2, "stopping_step": 999}
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken.py").write_text(BROKEN)

    def write(**values):
        text = {"datasets": ["toy"], "settings": settings} | values
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(text))
        return ["--sweep=mine.yaml"]

    return write


def folders():
    return sorted(file.parent for file in Path("saved/sweeps/mine").glob("*/config.yaml"))


def epochs_of(folder):
    """The epochs that a run has trained, in order, whatever process did."""
    return [int(epoch) for epoch in re.findall(r"finetune epoch (\d+):", (folder / "train.log").read_text())]


def test_a_sweep_trains_every_run_once_and_tells_of_those_without_a_result(sweep, capsys):
    argv = sweep(
        models=[
            "LR",
            "broken:Broken",
            {"FutureNet": {"optional": True}},
            {"LR": {"grid": {"epochs": [1, 3]}}},
        ],
        seeds=[1, 2],
    )
    assert cli.main(argv) == 1  # a run has failed
    first = capsys.readouterr().out
    assert [len(epochs_of(folder)) for folder in folders()] == [0, 0, 1, 1, 3, 3, 2, 2]
    assert "6 of 8 done, 0 running, 2 failed, 1 not implemented, time left: none" in first
    lines = table_lines(Path("saved/sweeps/mine/results.md").read_text())
    rows = [line for line in lines if line[0].startswith("LR epochs=") and "−" not in line[0]]
    assert [line[0][:11] for line in rows] == ["LR epochs=1", "LR epochs=2", "LR epochs=3"]
    assert [line[2] for line in rows] == ["2: 1, 2"] * 3
    missing = [line[2] for line in lines if line[0].startswith(("FutureNet", "broken:Broken"))]
    assert missing == ["missing: 1, 2", "missing"]
    assert cli.main(["report", "saved/sweeps/mine", "--out", "toy.md"]) == 0
    told = Path("toy.md").read_text()
    assert "seeds 1, 2 are missing: failed: ValueError: this model cannot be built.\n" in told
    assert "- FutureNet is missing: not implemented.\n" in told
    assert "FutureNet" in Path("toy.html").read_text()
    assert "cannot be built" in next(Path("saved/sweeps/mine/screens").glob("Broken*s1*.log")).read_text()

    before = {folder: (folder / "train.log").read_bytes() for folder in folders()}
    assert cli.main(argv) == 1  # nothing is left to do
    assert {folder: (folder / "train.log").read_bytes() for folder in folders()} == before
    capsys.readouterr()
    assert cli.main([*argv, "--dry_run"]) == 0
    listed = table_lines(capsys.readouterr().out)
    assert [line[1] for line in listed].count("done") == 6 and [line[1] for line in listed].count(
        "to do"
    ) == 2


def test_after_kill_9_finished_runs_stay_and_the_one_in_hand_goes_on(sweep, tmp_path, capsys):
    argv = sweep(models=["LR", {"LR": {"epochs": 60}}, "FM"], seeds=[1])
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(ROOT / "run_recbole_nif.py"), *argv]
    started = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(folders()) == 2 and any(4 in epochs_of(run) for run in folders()), started)
    finally:
        started.kill()  # SIGKILL
        started.wait()
    (half,) = [run for run in folders() if not (run / "result.json").is_file()]
    stopped_at = len(epochs_of(half))
    time.sleep(1)
    assert len(epochs_of(half)) <= stopped_at + 1  # its child has ended too

    assert cli.main(argv) == 0
    assert [read_result(run)["stages"][0]["epochs_run"] for run in folders()] == [2, 60, 2]
    for run in folders():
        trained = epochs_of(run)
        assert set(trained) == set(range(max(trained) + 1)) and len(trained) - len(set(trained)) <= (
            run == half
        )
    assert read_result(half)["stages"][0]["resumed"][0]["epoch"] >= 3


def wait_for(condition, process):
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, "the sweep has ended too early"
        time.sleep(0.1)
    pytest.fail("nothing happens")


def test_the_winner_of_a_search_is_what_later_runs_use(sweep, tmp_path, monkeypatch, capsys):
    search = {"learning_rate": [1.0e-6, 0.03], "mlp_hidden_size": [[4], [8, 4]]}
    argv = sweep(models=[{"DeepFM": {"search": search, "dropout_prob": 0.25}}], budget={"trials": 3})
    assert cli.main([*argv, "--save_tuned=props/tuned"]) == 0
    best = max(folders(), key=lambda run: read_result(run)["stages"][-1]["best_score"])
    wanted = yaml.safe_load((best / "config.yaml").read_text())
    written = Path("saved/sweeps/mine/tuned/DeepFM-toy.yaml").read_text()
    assert yaml.safe_load(written) == {key: wanted[key] for key in search} | {"dropout_prob": 0.25}
    assert written == Path("props/tuned/DeepFM-toy.yaml").read_text()

    for name in ("overall.yaml", "preset"):
        (tmp_path / "props" / name).symlink_to(props_dir() / name)
    monkeypatch.setattr(config_layers, "props_dir", lambda: tmp_path / "props")
    config = NIFConfig("DeepFM", "toy", config_dict={"data_path": str(tmp_path)})
    assert {key: config[key] for key in search} == {key: wanted[key] for key in search}
    assert "DeepFM-toy.yaml" in config.notes[0]


def test_a_run_can_be_ended_after_an_epoch_and_its_process_can_die(sweep, tmp_path):
    sweep(models=["LR"])
    (part,) = read_sweep(Path("mine.yaml"), {}).parts
    run = part.run({})

    def goes_on(epoch, score):
        assert 0 <= score <= 1
        return epoch < 0

    with pytest.raises(Pruned):
        train(run.settings, tmp_path / "pruned", tmp_path / "pruned.log", goes_on)
    assert "pruned after epoch 0" in (tmp_path / "pruned.log").read_text()
    assert not (tmp_path / "pruned" / "result.json").exists()

    def dies(epoch, score):
        (child,) = multiprocessing.active_children()
        child.kill()
        return True

    with pytest.raises(RunFailed, match="exit code -9"):
        train(run.settings, tmp_path / "killed", tmp_path / "killed.log", dies)
    (tmp_path / "moved").mkdir()
    (tmp_path / "toy").rename(tmp_path / "moved" / "toy")  # what may change when a run goes on is heeded
    settings = run.settings | {"data_path": str(tmp_path / "moved")}
    score = train(settings, tmp_path / "killed", tmp_path / "killed.log", lambda epoch, score: True)
    assert score == read_result(tmp_path / "killed")["stages"][-1]["best_score"]
    assert train(settings, tmp_path / "killed", tmp_path / "killed.log", pytest.fail) == score  # as it was


def test_runs_of_a_sweep_share_what_stage_1_of_amen_would_train_in_each(sweep, capsys):
    sizes = {"embedding_size": 4, "hidden_size": 8, "moveline_length": 6, "mlp_hidden_size": [8]}
    argv = sweep(models=[{"AMEN": {**sizes, "pretrain_epochs": 1, "grid": {"use_sam": [True, False]}}}])
    assert cli.main(argv) == 0
    stages = [read_result(folder)["stages"][0] for folder in folders()]
    assert sorted("from_cache" in stage["facts"] for stage in stages) == [False, True]
    assert stages[0]["curve"] == stages[1]["curve"]
    assert len(list(Path("saved/sweeps/mine/stage-1").glob("*.pt"))) == 1
    assert "2 done" in capsys.readouterr().out
