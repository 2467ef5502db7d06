"""``--nproc``: several processes train one model, leave one run, and go on as another number of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from recbole_nif.launch import watched
from tests.documents import ROOT

FEW_USERS = ["--dataset=ml-100k", "--user_inter_num_interval=[350,inf)"]
QUIET = ["--show_progress=False", "--tensorboard=False", "--device=cpu"]


def start(folder, *argv, **options):
    command = [sys.executable, "-W", "ignore", str(ROOT / "run_recbole_nif.py"), *argv, *QUIET]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **options)


def run(folder, *argv):
    process = start(folder, *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate(timeout=400)
    return process.returncode, output, errors


def in_training(folder):
    """Two processes in a run that does not end by itself, after their first epoch."""
    argv = [
        "--model=LR",
        *FEW_USERS,
        "--epochs=100000",
        "--stopping_step=100000",
        "--nproc=2",
        "--run_dir=run",
    ]
    process = start(folder, *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(process, folder / "run" / "checkpoints" / "finetune-last.pt")
    return process


def wait_for(process, file):
    """Until a running process has written a file."""
    while not file.is_file():
        assert process.poll() is None
        time.sleep(0.01)


def result(folder):
    return json.loads((folder / "result.json").read_text())


def scores(folder):
    with np.load(folder / "test_scores.npz") as file:
        return {name: file[name] for name in file.files}


def test_two_processes_train_both_stages_into_one_run_and_evaluate_as_one_does(tmp_path):
    argv = ["--model=AMEN", *FEW_USERS, "--epochs=2", "--pretrain_epochs=1"]
    code, output, errors = run(tmp_path, *argv, "--nproc=2", "--run_dir=two")
    assert code == 0, errors
    assert output.count("ml-100k: user_time") == 1  # one of them tells of it
    two = result(tmp_path / "two")
    assert [stage["name"] for stage in two["stages"]] == ["pretrain", "finetune"]

    checkpoint = tmp_path / "two" / "checkpoints" / "finetune-best.pt"
    given = [*argv[:-2], "--epochs=0", "--train_stage=finetune", f"--model_file={checkpoint}"]
    for count in (1, 2):
        assert run(tmp_path, *given, f"--nproc={count}", f"--run_dir=of-{count}")[0] == 0
        again = result(tmp_path / f"of-{count}")
        assert again["rows"] == two["rows"]
        for metric in ("auc", "gauc", "logloss"):
            assert again["test"][metric] == pytest.approx(two["test"][metric], abs=1e-7)
            # both processes validated the weights and statistics that were kept
            valid = [record["stages"][-1]["valid"][metric] for record in (again, two)]
            assert valid[0] == pytest.approx(valid[1], abs=1e-7)
    one, both = scores(tmp_path / "of-1"), scores(tmp_path / "of-2")
    assert (one["row_id"] == both["row_id"]).all() and len(set(one["row_id"])) == two["rows"]["test"]


def test_a_run_of_two_processes_goes_on_as_one_and_is_as_good(tmp_path):
    argv = ["--model=NIFDIN", *FEW_USERS, "--epochs=3", "--train_batch_size=256"]
    assert run(tmp_path, *argv, "--run_dir=whole")[0] == 0
    process = start(tmp_path, *argv, "--nproc=2", "--save_step=1", "--run_dir=killed", start_new_session=True)
    last = tmp_path / "killed" / "checkpoints" / "finetune-last.pt"
    wait_for(process, last)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    code, _, errors = run(tmp_path, "--resume=killed")
    assert code == 0, errors
    whole, killed = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert killed["stages"][0]["resumed"] and killed["stages"][0]["epochs_run"] == 3
    # The batches are the same; only Dice's statistics and dropout are of half a batch for some of them.
    assert killed["test"]["auc"] == pytest.approx(whole["test"]["auc"], abs=0.02)
    assert not np.array_equal(*(scores(tmp_path / name)["score"] for name in ("whole", "killed")))


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--nproc=2", "--model=Nobody"], "Nobody"),
        (["--nproc=none", "--model=LR"], "give a number of processes"),
        (["--nproc=²", "--model=LR"], "--nproc is '²': give a number of processes"),
        (["--nproc", "0", "--model=LR"], "give a number of processes"),
    ],
)
def test_a_mistake_is_told_once(tmp_path, argv, sentence):
    code, output, errors = run(tmp_path, *argv, "--dataset=ml-100k")
    assert code == 2 and output == ""
    assert sentence in errors and errors.count("error:") == len(errors.splitlines()) == 1


@pytest.mark.parametrize(("codes", "told"), [((2, 2), 0), ((0, 2), 1), ((1, 3), 1)])
def test_of_processes_with_the_same_mistake_the_first_has_told_it(codes, told):
    late, early = (
        [sys.executable, "-c", f"import time; time.sleep({pause}); raise SystemExit({code})"]
        for code, pause in zip(codes, (1, 0), strict=True)
    )
    assert watched([subprocess.Popen(late), subprocess.Popen(early)]) == (codes[1], told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_says_how_to_go_on(tmp_path, number):
    process = in_training(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: recbole-nif --resume=" in errors


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are found in /proc")
def test_a_process_that_is_killed_ends_the_others(tmp_path):
    process = in_training(tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    os.kill(int(children[1]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (
        errors.splitlines()[-1] == "error: Process 1 was ended by SIGKILL: go on with --resume=<run folder>."
    )
    assert not any(Path(f"/proc/{child}").exists() for child in children)
