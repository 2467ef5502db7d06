import json

import pytest

from recbole_nif.errors import UserError
from recbole_nif.publish import command
from recbole_nif.publish.command import main
from recbole_nif.results import read_result
from tests.unit.run_doubles import make_record, table_lines, write_run


def test_the_command_prints_a_table_of_run_folders_and_records(tmp_path, capsys):
    runs = [write_run(tmp_path / name, make_record(name, settings={})) for name in ("LR", "DeepFM")]
    assert main([str(runs[0]), str(runs[1] / "result.json")]) == 0
    assert [line[0] for line in table_lines(capsys.readouterr().out)] == ["item rate", "LR", "DeepFM"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ('{"schema": 3}', "of schema 3, but this version reads 1 and 2: use the version of recbole_nif that"),
        ("[]", "not the result of a run"),
        ("{}", "not the result of a run"),
        ('{"schema": 2, "model": "LR"}', "has no dataset: it is not the result of a run"),
    ],
)
def test_what_is_no_result_is_told_by_its_path(tmp_path, capsys, content, told):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(UserError, match=f"result.json {told}|result.json is {told}"):
        read_result(tmp_path)
    assert main([str(tmp_path / "result.json")]) == 2
    error = capsys.readouterr().err
    assert "result.json" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("key", make_record())
def test_a_record_without_a_field_is_reported_or_told(tmp_path, capsys, key):
    record = {name: value for name, value in make_record("LR").items() if name != key}
    (tmp_path / "result.json").write_text(json.dumps(record))
    if main([str(tmp_path)]):
        assert "not the result of a run" in capsys.readouterr().err


@pytest.mark.parametrize("fault", [BrokenPipeError(), OSError(28, "No space left on device")])
def test_output_that_cannot_be_printed_is_told_unless_nobody_reads_it(tmp_path, capsys, monkeypatch, fault):
    def fails(*blocks_and_links):
        raise fault

    run = write_run(tmp_path / "run", make_record("LR"))
    monkeypatch.setattr(command, "as_markdown", fails)
    if isinstance(fault, BrokenPipeError):  # the command line knows what to do
        with pytest.raises(BrokenPipeError):
            main([str(run)])
    else:
        assert main([str(run)]) == 2
        assert "standard output: No space left on device; free space" in capsys.readouterr().err


def test_without_arguments_the_command_tells_how_to_call_it(capsys):
    assert main([]) == 2
    assert "usage: recbole-nif report" in capsys.readouterr().err
