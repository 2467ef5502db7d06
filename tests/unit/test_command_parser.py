"""What commands share: ``--out`` is looked at before any work, and mistakes are told in one sentence."""

import pytest

from recbole_nif.analysis import command as analyze
from recbole_nif.audit import command as audit
from recbole_nif.command_parser import check_out, write_out
from recbole_nif.errors import UserError


def test_out_must_be_a_file_in_a_folder_that_exists(tmp_path):
    check_out(None)
    check_out(tmp_path / "new.json")
    with pytest.raises(UserError, match="is a folder: name a file in it"):
        check_out(tmp_path)
    check_out(tmp_path / ("n" * 300))  # told when it is written
    with pytest.raises(UserError, match="File name too long"):
        write_out(tmp_path / ("n" * 300), {})
    with pytest.raises(UserError, match="does not exist: create it"):
        check_out(tmp_path / "nowhere" / "new.json")


def test_what_cannot_be_written_is_told(tmp_path):
    write_out(None, {"a": 1})
    write_out(tmp_path / "new.json", {"a": 1})
    assert (tmp_path / "new.json").read_text() == '{\n  "a": 1\n}\n'
    with pytest.raises(UserError, match=r"Cannot write --out .*gone.json \(No such file or directory\)"):
        write_out(tmp_path / "nowhere" / "gone.json", {})


@pytest.mark.parametrize("options", ["--out=x.json", "--split_preset=global_time", "--data_path folder"])
def test_a_dataset_behind_an_option_is_told_where_it_stands(options):
    with pytest.raises(UserError, match="ml-100k stands behind an option: write recbole-nif audit ml-100k"):
        audit.parse([*options.split(), "ml-100k"])


def test_a_dataset_as_the_value_of_an_option_is_none_that_stands_behind_one():
    options, settings = audit.parse(["--dataset", "ml-100k"])
    assert options.dataset is None and settings == ["--dataset", "ml-100k"]


def test_an_option_of_the_configuration_without_a_value_is_told():
    with pytest.raises(UserError, match="--data_path has no value: write --data_path=VALUE"):
        analyze.parse(["run", "--data_path", "/data"])
