"""Runs on the toy log, made once in a process, and scorers of them."""

import pytest

from recbole_nif.inference import Scorer
from tests.toy_runs import toy_run
from tests.unit.scorer.toy_requests import PAIRS


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of runs by model, made when first asked for."""
    made = {}

    def folder(model):
        if model not in made:
            made[model] = toy_run(tmp_path_factory.mktemp("toy"), model)
        return made[model]

    return folder


@pytest.fixture
def scorer(folders):
    """Makes a fresh scorer."""
    return lambda model="NIFDIN", **options: Scorer.load(folders(model), device="cpu", **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy_run(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with pairs.csv."""
    monkeypatch.chdir(tmp_path)
    PAIRS.assign(note='a "quoted", cell').to_csv("pairs.csv", index=False)
    return tmp_path
