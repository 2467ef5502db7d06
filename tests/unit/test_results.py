import json

import pytest

from recbole_nif.errors import UserError
from recbole_nif.results import main, read_result, result_table


def make_record(model, auc, seed=2020, test_rows=100, **test):
    metrics = {"auc": auc, "gauc": None, "logloss": 0.4321}
    return {
        "schema": 1,
        "model": model,
        "dataset": "ml-100k",
        "seed": seed,
        "split": {"preset": "user_time", "ties": "cut"},
        "history": {"kind": "clicks", "ties": "strict"},
        "rows": {"test": test_rows},
        "stages": [
            {"rows_per_second": 5000.0, "epochs_run": 20, "best_epoch": 19, "facts": {}},
            {"rows_per_second": 12345.6, "epochs_run": 7, "best_epoch": 3, "facts": {}},
        ],
        "test": metrics | test,
        "baselines": {"item_rate": {"auc": 0.7, "gauc": 0.65, "logloss": 0.5}},
        "device": {"name": "A CPU"},
        "threads": 2,
    }


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_line_shows_what_was_compared_and_on_which_terms():
    head, _, baseline, line = result_table([make_record("AMEN", 0.8123)]).splitlines()
    assert cells(head)[:7] == ["model", "history", "ties", "split", "AUC", "GAUC", "LogLoss"]
    assert cells(baseline)[:7] == [
        "item rate",
        "",
        "",
        "ml-100k user_time (cut)",
        "0.7000",
        "0.6500",
        "0.5000",
    ]
    assert cells(line) == [
        "AMEN", "clicks", "strict", "ml-100k user_time (cut)",
        "0.8123", "undefined", "0.4321",
        "", "7, best 4", "12,346", "2020", "A CPU", "2",
    ]  # fmt: skip


def test_relaimpr_compares_with_lr_on_the_same_rows_only():
    records = [make_record("LR", 0.75), make_record("AMEN", 0.8), make_record("AMEN", 0.9, test_rows=7)]
    lines = [cells(line) for line in result_table(records).splitlines()[2:]]
    assert [line[0] for line in lines] == ["item rate", "item rate", "LR", "AMEN", "AMEN"]
    assert [line[7] for line in lines[2:]] == ["+0.00 %", "+20.00 %", ""]


def test_a_run_of_stage_1_alone_has_no_test_metrics():
    record = make_record("AMEN", 0.8) | {"test": None}
    assert cells(result_table([record]).splitlines()[-1])[4:7] == ["undefined"] * 3


def test_the_command_prints_a_table_of_run_folders(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(make_record(name, 0.8)))
    assert main([str(tmp_path / "a"), str(tmp_path / "b" / "result.json")]) == 0
    assert [cells(line)[0] for line in capsys.readouterr().out.splitlines()[3:]] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ('{"schema": 0}', "not a result of schema 1"),
        ("[]", "not a result"),
    ],
)
def test_what_is_no_result_is_told_by_its_path(tmp_path, capsys, content, told):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=f"result.json {told}|result.json is {told}"):
        read_result(tmp_path)
    assert main([str(tmp_path)]) == 2
    assert "result.json" in capsys.readouterr().err


def test_without_arguments_the_command_tells_how_to_call_it(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
