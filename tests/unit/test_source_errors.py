"""What is wrong with a dataset's source or its raw files, told in one sentence."""

import gzip
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from recbole_nif.data.sources import ensure_dataset, verify_counts
from recbole_nif.errors import UserError
from tests import generated
from tests.unit.source_doubles import (
    COLUMNS,
    MEMBERS,
    MONTHS,
    RAW_RATINGS,
    everything_below,
    lines,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset" / "mine"


@pytest.fixture
def raw_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    generated.movielens_csv(folder)
    return folder


class TestErrors:
    def test_one_sentence_names_what_was_tried_and_which_files_to_put_where(self, tmp_path, folder):
        gone = {"kind": "download", "url": "file:///no/such/file.zip", "members": MEMBERS}
        source = {**RAW_RATINGS, "try": [gone, *RAW_RATINGS["try"]]}
        with pytest.raises(UserError) as error:
            ensure_dataset("mine", folder, source)
        text = str(error.value)
        assert "file:///no/such/file.zip" in text and "raw: no ratings.csv, movies.csv" in text
        assert text.endswith(
            f"put ratings.csv, movies.csv from https://example.org/ratings into {folder.resolve()}, "
            "or point --data_path at the folder around the data."
        )

    def test_an_unknown_name_asks_for_atomic_files(self, folder):
        with pytest.raises(UserError, match=re.escape("put mine.inter (and mine.user, mine.item if")):
            ensure_dataset("mine", folder, None)

    def test_nothing_is_left_of_a_search_for_data_that_are_not_there(self, tmp_path):
        with pytest.raises(UserError):
            ensure_dataset("my-data", tmp_path / "here" / "dataset" / "my-data", None)
        assert not list(tmp_path.iterdir())
        (tmp_path / "here").mkdir()
        with pytest.raises(UserError):
            ensure_dataset("my-data", tmp_path / "here" / "dataset" / "my-data", None)
        assert [path.name for path in tmp_path.iterdir()] == ["here"] and not list(
            (tmp_path / "here").iterdir()
        )

    def test_source_path_moves_the_place_where_raw_files_are_expected(self, raw_folder, tmp_path):
        target = tmp_path / "elsewhere" / "mine"
        ensure_dataset("mine", target, {**RAW_RATINGS, "path": str(raw_folder)})
        assert everything_below(target) == {"mine.inter", "mine.item", ".source.json"}

    def test_a_missing_column_is_named(self, raw_folder):
        (raw_folder / "ratings.csv").write_text("userId,movieId,stars,timestamp\n1,2,3,4\n")
        with pytest.raises(
            UserError, match=r"ratings\.csv has no column rating: it has userId, movieId, stars"
        ):
            ensure_dataset("mine", raw_folder, RAW_RATINGS)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"converter": "movielens"}, "converter 'movielens' is none of atomic"),
            ({"options": {"sed": 1}}, "unexpected keyword argument 'sed'"),
            ({"try": [{"kind": "ftp"}]}, "kind 'ftp' is none of recbole_download"),
            ({"try": "raw"}, "try must be a list, but it is 'raw'"),
            ({"try": ["raw"]}, "source.try of mine must be a mapping such as"),
            ({"tries": []}, "no key 'tries'. There are: homepage, expected, try"),
            ({"try": [{"kind": "raw", "file": {}}]}, "no key 'file'; did you mean 'files'"),
            ({"try": [{"kind": "raw"}]}, "kind raw wants files"),
            ({"try": [{"kind": "raw", "files": "clicks.csv"}]}, "files must be a mapping"),
            ({"try": [{"kind": "raw", "files": {"inter": 5}}]}, "files.inter must be the name of a file"),
            ({"try": [{"kind": "raw", "files": None}]}, "kind raw wants files"),
            ({"path": 5}, "path must be text, but it is 5"),
            ({"raw_rows": "many"}, "raw_rows must be a whole number"),
            ({"options": []}, r"options must be a mapping, but it is \[\]"),
            ({**COLUMNS, "options": {"inter": ["user"]}}, "options.inter must say which column"),
            ({**COLUMNS, "options": {"inters": {}}}, "files has inter and options has inters"),
            ({**COLUMNS, "options": None}, "files has inter and options has none"),
        ],
    )
    def test_a_mistake_in_the_source_mapping_is_told(self, folder, change, words):
        with pytest.raises(UserError, match=words):
            ensure_dataset("mine", folder, RAW_RATINGS | change)

    @pytest.mark.parametrize("name", ["clicks.csv.gz", "clicks.csv.zip"])
    def test_a_packed_file_that_is_none_is_told(self, folder, name):
        folder.mkdir(parents=True)
        (folder / name).write_text("user,item\n1,2\n")
        options = {"inter": {"user": "user_id:token", "item": "item_id:token"}}
        source = COLUMNS | {"options": options, "try": [{"kind": "raw", "files": {"inter": name}}]}
        with pytest.raises(UserError, match=f"{name} cannot be read"):
            ensure_dataset("mine", folder, source)

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("user,item\n1,2\n3,x,4\n", "line 3 has 3 cells, but the header names 2"),
            ("user,item\n1,x,2\n", "line 2 has 3 cells"),
            ('user,item\n1,"x\ny"\n3\n', "line 4 has 1 cells"),
        ],
    )
    @pytest.mark.parametrize("pack", [None, gzip.compress])
    def test_a_line_of_an_own_log_that_does_not_fit_its_header_is_named(self, folder, text, line, pack):
        folder.mkdir(parents=True)
        name = "clicks.csv.gz" if pack else "clicks.csv"
        (folder / name).write_bytes(pack(text.encode()) if pack else text.encode())
        options = {"inter": {"user": "user_id:token", "item": "item_id:token"}}
        source = COLUMNS | {"options": options, "try": [{"kind": "raw", "files": {"inter": name}}]}
        with pytest.raises(UserError, match=f"{name}, {line}"):
            ensure_dataset("mine", folder, source)
        assert everything_below(folder) == {name}

    def test_commas_at_the_ends_of_lines_and_blank_lines_do_no_harm(self, folder):
        folder.mkdir(parents=True)
        (folder / "clicks.csv").write_text("user,item\n1,2,\n\n3,4\n")
        options = {"inter": {"user": "user_id:token", "item": "item_id:token"}}
        ensure_dataset("mine", folder, COLUMNS | {"options": options})
        assert lines(folder / "mine.inter")[1:3] == ["1\t2", "3\t4"]

    def test_only_an_empty_cell_of_an_own_log_is_missing(self, folder):
        folder.mkdir(parents=True)
        (folder / "clicks.csv").write_text("user,item\nNA,None\nnull,\n")
        options = {"inter": {"user": "user_id:token", "item": "item_id:token"}}
        ensure_dataset("mine", folder, COLUMNS | {"options": options})
        assert lines(folder / "mine.inter")[1:3] == ["NA\tNone", "null\t"]

    def test_an_own_log_may_lie_in_several_files(self, folder):
        for month, text in {"may": "user,item\n1,2\n", "june": "item,user\n4,3\n"}.items():
            (folder / month).mkdir(parents=True)
            (folder / month / "clicks.csv").write_text(text)
        ensure_dataset("mine", folder, MONTHS)
        assert lines(folder / "mine.inter")[1:3] == ["1\t2", "3\t4"]

    def test_atomic_files_of_one_suffix_need_the_same_columns(self, folder):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("user_id:token\titem_id:token\n1\t2\n")
        (folder / "b.txt").write_text("user_id:token\n3\n")
        source = {"try": [{"kind": "raw", "files": {"inter": ["a.txt", "b.txt"]}}]}
        with pytest.raises(
            UserError, match="files of mine.inter have different columns .user_id:token, item"
        ):
            ensure_dataset("mine", folder, source)
        assert everything_below(folder) == {"a.txt", "b.txt"}

    def test_a_file_in_the_place_of_data_path_is_told(self, tmp_path):
        (tmp_path / "log.csv").write_text("user,item\n1,2\n")
        with pytest.raises(UserError, match=r"log.csv \(.*\): point --data_path at a folder"):
            ensure_dataset("mine", tmp_path / "log.csv" / "mine", COLUMNS | {"options": {"inter": {}}})

    def test_counts_that_differ_name_both_numbers(self):
        loaded = SimpleNamespace(
            inter_num=10, user_num=4, item_num=6, dataset_name="mine", dataset_path="here"
        )
        verify_counts(loaded, {"rows": 10, "users": 3, "items": 5})
        verify_counts(loaded, {"rows": 99}, in_force=False)
        verify_counts(loaded, None)
        with pytest.raises(UserError, match="mine has 10 rows instead of 1,000, 5 items instead of 7"):
            verify_counts(loaded, {"rows": 1000, "users": 3, "items": 7})
