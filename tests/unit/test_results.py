import pytest

from recbole_nif.errors import UserError
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


def test_without_arguments_the_command_tells_how_to_call_it(capsys):
    assert main([]) == 2
    assert "usage: recbole-nif report" in capsys.readouterr().err
