"""recbole-nif audit: what it prints and writes, and its exit codes."""

import json

import pytest

from recbole_nif import cli
from recbole_nif.data.dataset import CTRDataset
from tests.toy import save_run, toy_config, write_toy
from tests.unit import leaky_models
from tests.unit.leaky_models import ROWS

# -- the command


def run_of(folder, model):
    write_toy(folder, ROWS)
    config = toy_config(folder, model, embedding_size=2)
    return save_run(folder / "run", config, config.model_class(config, CTRDataset(config).build()[0]))


def test_a_leak_ends_with_code_1_and_is_named(tmp_path, capsys):
    run = run_of(tmp_path, leaky_models.SeesItsLabel)
    out = tmp_path / "audit.json"
    assert cli.main(["audit", f"--run={run}", f"--out={out}", "--passes", "2"]) == 1
    printed = capsys.readouterr().out
    assert "LEAK (own label flipped): 16 of 16 audited rows changed their score, by up to 0." in printed
    record = json.loads(out.read_text())
    assert record["leaks"] == ["own label flipped"]
    assert record["model"] == "tests.unit.leaky_models:SeesItsLabel"
    assert [test["verdict"] for test in record["score_tests"]] == ["LEAK", "passed", "history is read"]


def test_an_honest_run_ends_with_code_0_wherever_its_data_lie_now(tmp_path, capsys):
    run = run_of(tmp_path / "then", leaky_models.Honest)
    (tmp_path / "now").mkdir()
    (tmp_path / "then" / "toy").rename(tmp_path / "now" / "toy")
    assert cli.main(["audit", "--run", str(run), f"--data_path={tmp_path / 'now'}"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("passed") == 2
    assert "LEAK" not in printed


def test_the_facts_of_a_dataset_are_printed_and_written(tmp_path, capsys):
    write_toy(tmp_path, ROWS)
    settings = [f"--{key}={value}" for key, value in toy_config(tmp_path).resolved().items() if key in KEYS]
    out = tmp_path / "audit.json"
    assert cli.main(["audit", "toy", *settings, "--split_preset=global_time", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("toy: split global_time, split_ties cut, history_ties strict")
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table}) == 1  # aligned
    record = json.loads(out.read_text())
    assert record["rows"] == {"train": 192, "valid": 24, "test": 24}
    assert len(table) == len(record["facts"]) + len(record["baselines"]) + 4
    assert record["baselines"]["item_user_recent"]["logloss"] > 0


KEYS = ("data_path", "load_col", "threshold", "device")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--run", "nowhere"], "finetune-best.pt does not exist"),
        (["ml-100k", "--run", "saved/x"], "either the dataset ml-100k or --run"),
        (["--run"], "expected one argument"),
        (["ml-100k", "--passes=few"], "invalid int value"),
        (["ml-100k", "--passes=0"], "--passes is 0"),
        (["ml-100k", "--out=no/such/folder.json"], "folder of --out"),
        (["ml-100k", "--splt_preset=random"], "did you mean 'split_preset'"),
        ([], "No dataset is named"),
    ],
)
def test_a_wrong_call_is_told_in_a_sentence(argv, told, capsys):
    assert cli.main(["audit", *argv]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert len(printed.splitlines()) == 1


def test_help_is_printed_without_an_audit(capsys):
    assert cli.main(["audit", "--help"]) == 0
    assert "--run FOLDER" in capsys.readouterr().out
