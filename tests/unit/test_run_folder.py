import json
import logging
import math
from datetime import datetime
from types import SimpleNamespace

import pytest
import torch
import yaml

from recbole_nif import run_folder
from recbole_nif.errors import UserError
from recbole_nif.run_folder import RunFolder, default_run_dir, environment, finite, git_commit, write_json
from tests.unit.doubles import FakeConfig


class Config(FakeConfig):
    def resolved(self):
        return {"model": "recbole.DIN", "seed": 7, "run_dir": "somewhere", "mlp": [8, 4]}


def make_config(tmp_path, **overrides):
    return Config(
        {
            "model": "DIN",
            "model_name": "recbole.DIN",
            "dataset": "toy",
            "seed": 7,
            "checkpoint_dir": str(tmp_path),
        }
        | overrides
    )


def test_the_default_folder_is_named_by_model_dataset_time_and_seed(tmp_path):
    config = make_config(tmp_path)
    path = default_run_dir(config)
    assert path.parent == tmp_path
    assert path.name.startswith("recbole.DIN-toy-20") and path.name.endswith("-7")
    assert not path.exists()
    assert default_run_dir(make_config(tmp_path, model_name="my.module:Net")).name.startswith("Net-toy-")


def test_runs_that_begin_in_one_second_get_folders_of_their_own(tmp_path, monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls):
            return cls(2026, 11, 22, 9, 5, 7)

    monkeypatch.setattr(run_folder, "datetime", Clock)
    names = [RunFolder(make_config(tmp_path, run_dir=None)).path.name for _ in range(3)]
    first = "recbole.DIN-toy-20261122-090507-7"
    assert names == [first, f"{first}-2", f"{first}-3"]


def test_a_new_folder_holds_the_configuration_without_its_own_place(tmp_path):
    config = make_config(tmp_path, run_dir=str(tmp_path / "a" / "run"))
    folder = RunFolder(config)
    assert yaml.safe_load((folder.path / "config.yaml").read_text()) == {
        "model": "recbole.DIN",
        "seed": 7,
        "mlp": [8, 4],
    }
    assert config["run_dir"] == str(folder.path)


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    RunFolder(make_config(tmp_path, run_dir=str(folder)))
    with pytest.raises(UserError, match="run is not empty"):
        RunFolder(make_config(tmp_path, run_dir=str(folder)))


def test_a_folder_that_cannot_be_made_is_told_by_its_path(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file/run .* set run_dir"):
        RunFolder(make_config(tmp_path, run_dir=str(tmp_path / "file" / "run")))


@pytest.mark.parametrize("trained", [False, True])
def test_a_mistake_removes_the_folder_unless_something_was_trained(tmp_path, trained):
    folder = RunFolder(make_config(tmp_path, run_dir=str(tmp_path / "run")))
    with pytest.raises(UserError), folder.removed_after_a_mistake(), folder.logging():
        (folder.path / "tensorboard").mkdir()
        (folder.path / "tensorboard" / "events.out").touch()
        if trained:
            (folder.path / "checkpoints").mkdir()
        raise UserError("no such column")
    assert folder.path.exists() == trained


def test_a_bug_leaves_the_folder_for_those_who_look_for_it(tmp_path):
    folder = RunFolder(make_config(tmp_path, run_dir=str(tmp_path / "run")))
    with pytest.raises(KeyError), folder.removed_after_a_mistake(), folder.logging():
        raise KeyError("bug")
    assert (folder.path / "train.log").exists()


def test_only_the_first_process_writes(tmp_path):
    folder = RunFolder(make_config(tmp_path, run_dir=str(tmp_path / "run"), rank=1))
    with folder.logging():
        logging.getLogger("recbole_nif").info("unheard")
    folder.write_result({})
    assert not (tmp_path / "run").exists()


def test_the_log_has_no_color_codes_and_handlers_are_removed_afterwards(tmp_path):
    folder = RunFolder(make_config(tmp_path, run_dir=str(tmp_path / "run")))
    before = list(logging.getLogger().handlers)
    with folder.logging("INFO"):
        logging.getLogger("recbole_nif.x").info("\x1b[1;35mml-100k\x1b[0m loaded")
        logging.getLogger("recbole_nif.x").debug("too much detail")
    logging.getLogger("recbole_nif.x").warning("after the run")
    log = (folder.path / "train.log").read_text()
    assert log.endswith("INFO ml-100k loaded\n") and log.count("\n") == 1
    assert logging.getLogger().handlers == before


def test_results_are_strict_json_with_null_for_what_has_no_value(tmp_path):
    record = {"gauc": math.nan, "score": -math.inf, 3: (1.5, torch.device("cpu")), "ok": True}
    write_json(tmp_path / "result.json", record)
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text) == {"gauc": None, "score": None, "3": [1.5, "cpu"], "ok": True}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    assert finite({"a": [math.inf]}) == {"a": [None]}


def test_the_environment_names_versions_device_and_commit():
    facts = environment(torch.device("cpu"))
    assert facts["versions"]["torch"] == torch.__version__
    assert facts["device"]["type"] == "cpu" and facts["device"]["name"]
    assert facts["threads"] == torch.get_num_threads()
    assert facts["git_commit"] == git_commit()


def test_the_commit_is_the_one_that_the_run_began_with(tmp_path, monkeypatch):
    git_commit.cache_clear()
    RunFolder(make_config(tmp_path, run_dir=None))
    began = git_commit()
    moved_on = SimpleNamespace(stdout="0" * 40)
    monkeypatch.setattr(run_folder.subprocess, "run", lambda *args, **options: moved_on)
    assert git_commit() == began
    git_commit.cache_clear()
    assert git_commit() in ("0" * 40, None)
    git_commit.cache_clear()
