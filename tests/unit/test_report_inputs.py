"""What a report is made of: folders of runs and of sweeps, and runs that are missing."""

import json

import pytest
import yaml

from recbole_nif.errors import UserError
from recbole_nif.publish.inputs import read_inputs
from tests.unit.run_doubles import make_record, report_text, table_lines, write_run


def begin_run(folder, **values):
    """A run's folder without a result."""
    folder.mkdir(parents=True)
    settings = {"model": "AMEN", "dataset": "ml-100k", "seed": 2021, "split_preset": "user_time"}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings | values))
    return folder


def write_account(folder, *runs):
    """A sweep's account of its runs."""
    entry = {
        "model": "AMEN",
        "dataset": "ml-100k",
        "split": "user_time",
        "seed": 1,
        "settings": {},
        "folder": None,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "runs.json").write_text(json.dumps({"schema": 1, "runs": [entry | run for run in runs]}))
    return folder


def test_a_seed_without_a_result_is_missing_in_its_row_and_a_row_without_any_shows_as_missing(tmp_path):
    runs = [
        write_run(tmp_path / "a", make_record(seed=2020)),
        begin_run(tmp_path / "b"),
        begin_run(tmp_path / "c", use_sam=False, seed=1),
        begin_run(tmp_path / "d", use_sam=False, seed=2),
    ]
    text = report_text(*runs)
    _, amen, variant = table_lines(text)
    assert amen[:3] == ["AMEN", "clicks", "one seed (2020): no sign claimed; missing: 2021"]
    assert variant == ["AMEN use_sam=False", "", "missing: 1, 2", *["—"] * 9]
    assert "- AMEN, seed 2021 is missing: not finished.\n" in text
    assert "- AMEN use_sam=False, seeds 1, 2 are missing: not finished.\n" in text
    assert "Without a result" not in text


def test_missing_runs_of_other_data_and_splits_are_listed_at_the_end(tmp_path):
    runs = [
        write_run(tmp_path / "a", make_record()),
        begin_run(tmp_path / "b", dataset="ml-1m"),
        begin_run(tmp_path / "c", split_preset="random"),
    ]
    text = report_text(*runs)
    assert table_lines(text)[-2:] == [
        ["AMEN, seed 2021", "ml-1m", "user_time", "not finished"],
        ["AMEN, seed 2021", "ml-100k", "random", "not finished"],
    ]
    assert "missing" not in text.partition("## Without a result")[0]


def test_a_report_of_nothing_but_missing_runs_says_so(tmp_path):
    text = report_text(begin_run(tmp_path / "b"))
    assert text.startswith("# Results\n\n## Without a result\n")


def test_a_folder_with_runs_in_it_stands_for_them(tmp_path):
    write_run(tmp_path / "saved" / "b", make_record(seed=2))
    write_run(tmp_path / "saved" / "a", make_record(seed=1))
    begin_run(tmp_path / "saved" / "c")
    (tmp_path / "saved" / "sweeps").mkdir()
    (tmp_path / "saved" / "notes.txt").write_text("mine")
    runs, absent = read_inputs([tmp_path / "saved"])
    assert [run.name for run in runs] == ["a", "b"] and [run.seed for run in absent] == [2021]


def test_a_sweeps_account_tells_of_every_run_even_of_those_not_begun(tmp_path):
    folder = tmp_path / "mine"
    write_run(folder / "AMEN-1", make_record(seed=1))
    begin_run(folder / "AMEN-2", seed=2)
    begin_run(folder / "AMEN-3", seed=3)
    write_run(folder / "of-an-older-file", make_record("LR"))
    write_account(
        folder,
        {"folder": "AMEN-1", "why": "not begun"},
        {"seed": 2, "folder": "AMEN-2", "why": "not begun"},
        {"seed": 3, "folder": "AMEN-3", "why": "failed: ValueError: no"},
        {"seed": 4, "folder": "AMEN-4", "why": "not begun"},
        {"model": "MIRRN", "split": None, "seed": None, "why": "not implemented"},
    )
    text = report_text(folder)
    assert [line[::2][:2] for line in table_lines(text)[1:]] == [
        ["AMEN", "one seed (1): no sign claimed; missing: 2, 3, 4"],
        ["MIRRN", "missing"],
    ]
    for note in (
        "AMEN, seed 2 is missing: not finished.",
        "AMEN, seed 3 is missing: failed: ValueError: no.",
        "AMEN, seed 4 is missing: not begun.",
        "MIRRN is missing: not implemented.",
    ):
        assert f"- {note}\n" in text


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"runs": 1}', '{"runs": [{}]}', '{"runs": [{"folder": 1, "why": 2}]}']
)
def test_an_account_that_cannot_be_read_is_told(tmp_path, text):
    (tmp_path / "runs.json").write_text(text)
    with pytest.raises(UserError, match="runs.json is no account of a sweep"):
        read_inputs([tmp_path])


def test_an_export_is_no_run(tmp_path):
    write_run(tmp_path / "a", make_record(seed=1))
    (begin_run(tmp_path / "exported") / "export.json").write_text("{}")
    runs, absent = read_inputs([tmp_path])
    assert len(runs) == 1 and not absent


def test_folders_without_runs_are_told(tmp_path):
    with pytest.raises(UserError, match="holds no run: give run folders"):
        read_inputs([tmp_path])
    (tmp_path / "config.yaml").write_text("a: 1\n")
    with pytest.raises(UserError, match="names no model and dataset"):
        read_inputs([tmp_path])
    with pytest.raises(UserError, match="nowhere cannot be read"):
        read_inputs([tmp_path / "nowhere"])
