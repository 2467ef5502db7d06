"""What may stand beside ``--resume``: what the stored configuration says already."""

import pytest
import yaml

from recbole_nif.config import NIFConfig
from recbole_nif.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A run's folder with its configuration."""
    given = {"clip_grad_norm": {"max_norm": 5.0}}
    stored = NIFConfig("DIN", "ml-100k", config_dict=given).resolved()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(stored))
    return tmp_path


@pytest.mark.parametrize(
    "argv",
    [
        ["--eval_args.order=TO"],
        ["--eval_args={split: {RS: [0.8, 0.1, 0.1]}}"],
        ["--clip_grad_norm.max_norm=5"],
        ["--model=DIN", "--dataset=ml-100k"],
        ["--model=NIFDIN"],
        ["--data_path=elsewhere", "--log_every=3"],
    ],
)
def test_what_the_run_has_already_may_be_given_again(folder, argv):
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    resumed = NIFConfig(argv=[f"--resume={folder}", *argv]).resolved()
    free = {"run_dir", "data_path", "log_every", "resume"}
    assert {key: resumed[key] for key in stored.keys() - free} == {
        key: stored[key] for key in stored.keys() - free
    }
    assert resumed["run_dir"] == str(folder)


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("--eval_args.order=RO", "eval_args.order"),
        ("--eval_args.split.LS=valid_only", "eval_args.split.LS"),
        ("--clip_grad_norm=None", "clip_grad_norm"),
        ("--clip_grad_norm.norm_type=1", "clip_grad_norm.norm_type"),
        ("--model=DIEN", "model"),
        ("--dataset=ml-1m", "dataset"),
    ],
)
def test_what_the_run_does_not_have_is_refused(folder, option, key):
    with pytest.raises(UserError, match=f"^{key} in the command line is not what .*config.yaml says"):
        NIFConfig(argv=[f"--resume={folder}", option])


def test_an_export_is_no_run_to_go_on_with(folder):
    (folder / "export.json").write_text("{}")
    with pytest.raises(UserError, match="it is an export, so name the run folder"):
        NIFConfig(argv=[f"--resume={folder}"])
