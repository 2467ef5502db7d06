"""``recbole-nif recall`` on small runs, from training to the table."""

import json

import pytest

from recbole_nif import cli, run_recbole_nif
from recbole_nif.analysis import recall_command
from tests.integration.test_analyses import MODELS, ROWS, SMALL
from tests.toy import toy_config, write_toy

ONE_SPLIT = "--eval_args.split={LS: valid_only}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_toy(folder, ROWS)
    for model in ("AMEN", "GenCI", "NIFDIN"):
        config = toy_config(folder, model, **SMALL, **MODELS[model]).resolved()
        run_recbole_nif(config_dict=config | {"run_dir": str(folder / model)})
    return folder


@pytest.mark.parametrize("model", ["AMEN", "GenCI"])
def test_recall_is_told_beside_the_baselines(model, runs, tmp_path, capsys):
    out = tmp_path / "recall.json"
    assert cli.main(["recall", f"--run={runs / model}", f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    record = json.loads(out.read_text())
    assert set(record["splits"]) == {"validation", "test"}
    for values in record["splits"].values():
        rankings = values["recall"]
        assert list(rankings) == [model, "popularity", "item-kNN", "Markov (last click)"]
        for recall in rankings.values():
            assert 0 <= recall["10"] <= recall["50"] == recall["500"] == 1  # there are 40 items
    assert f"| test       | {record['splits']['test']['rows']} " in printed and "| item-kNN" in printed


def test_a_sample_of_rows_is_the_same_each_time(runs, capsys):
    told = []
    for _ in range(2):
        assert cli.main(["recall", f"--run={runs / 'AMEN'}", "--rows=3"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] and "| test       | 3 " in told[0]


def test_a_split_without_rows_is_left_out(runs, tmp_path):
    out = tmp_path / "recall.json"
    assert cli.main(["recall", f"--run={runs / 'AMEN'}", f"--out={out}", ONE_SPLIT]) == 0
    assert list(json.loads(out.read_text())["splits"]) == ["validation"]


def test_splits_without_a_click_are_told(runs, monkeypatch, capsys):
    monkeypatch.setattr(recall_command, "clicked_rows", lambda *given: [])
    assert cli.main(["recall", f"--run={runs / 'AMEN'}"]) == 2
    assert "Neither validation nor test rows hold a click: change eval_args" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("recall", "recall needs --run"),
        ("recall --run={runs}/toy", "toy is not the folder of a run"),
        ("recall --run={runs}/NIFDIN", "NIFDIN generates no candidates: give a run of AMEN"),
        ("recall --run={runs}/AMEN --rows=0", "--rows is 0"),
        ("recall --run={runs}/AMEN --rows=few", "invalid int value"),
        ("recall --run={runs}/AMEN --out={runs}/no/file", "does not exist: create it"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(argv, told, runs, capsys):
    assert cli.main(argv.format(runs=runs).split()) == 2
    printed = capsys.readouterr().err
    assert told in printed and len(printed.splitlines()) == 1


def test_the_audit_of_a_run_without_test_rows_is_told(runs, capsys):
    assert cli.main(["audit", f"--run={runs / 'AMEN'}", ONE_SPLIT]) == 2
    assert "The test split is empty: audit another one than eval_args.split" in capsys.readouterr().err
