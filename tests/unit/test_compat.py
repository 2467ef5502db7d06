"""Shims for stock RecBole: each works, comes only where needed, and opens nothing else."""

import pickle
import subprocess
import sys
import types

import pandas
import pytest
import recbole.data.dataset.dataset
import torch
from recbole.data.dataset import Dataset

from recbole_nif import compat
from recbole_nif.errors import UserError


class Box:
    """Something that only a full pickle can hold, as RecBole's checkpoints hold a Config."""


def recbole_caller():
    """A function that calls torch.load from a module named recbole.…"""
    module = types.ModuleType("recbole.trainer.imitation")
    exec("import torch\ndef load(path, **options):\n    return torch.load(path, **options)", module.__dict__)
    return module.load


def test_applying_twice_wraps_once():
    compat.apply()
    first = Dataset._download
    compat.apply()
    assert Dataset._download is first


def test_a_sparse_matrix_takes_entries_as_lightgcn_writes_them():
    compat.apply()
    from scipy.sparse import dok_matrix

    matrix = dok_matrix((2, 2))
    matrix._update({(0, 1): 3.0})
    assert matrix.toarray().tolist() == [[0.0, 3.0], [0.0, 0.0]]


def test_a_download_in_one_process_ends_without_a_barrier(monkeypatch):
    monkeypatch.setattr(Dataset, "_download", lambda self: torch.distributed.barrier())
    with pytest.raises(ValueError, match="process group"):
        Dataset._download(None)
    compat._let_download_finish()
    Dataset._download(None)


def test_other_errors_of_a_download_pass(monkeypatch):
    def fail(self):
        raise ValueError("Neither the folder nor the name is known")

    monkeypatch.setattr(Dataset, "_download", fail)
    compat._let_download_finish()
    with pytest.raises(ValueError, match="Neither"):
        Dataset._download(None)


def test_pandas_3_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(pandas, "__version__", "3.1.1")
    with pytest.raises(UserError, match="pip install 'pandas<3'"):
        compat.apply()


def test_the_numpy_names_that_recbole_reads_exist():
    compat.apply()
    import numpy

    assert (numpy.float_, numpy.complex_, numpy.unicode_) == (numpy.float64, numpy.complex128, numpy.str_)


def test_pickles_load_for_recbole_only_and_only_after_opting_in(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", torch.load)  # undone after the test
    path = tmp_path / "checkpoint.pth"
    torch.save({"config": Box()}, path)
    load = recbole_caller()
    compat.apply()
    with pytest.raises(pickle.UnpicklingError):
        load(path)
    compat.trust_recbole_pickles()
    compat.trust_recbole_pickles()
    assert isinstance(load(path)["config"], Box)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path)
    with pytest.raises(pickle.UnpicklingError):
        load(path, weights_only=True)


def test_importing_and_configuring_never_imports_ray():
    code = (
        "import sys, recbole_nif, recbole_nif.cli\n"
        "assert 'torch' not in sys.modules, 'import recbole_nif is not light'\n"
        "from recbole_nif.config import NIFConfig\n"
        "NIFConfig('recbole.DIN', 'ml-100k')\n"
        "recbole_nif.register()\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_importing_recboles_din_does_not_leave_autograd_in_anomaly_mode():
    code = (
        "import torch; from recbole_nif.registry import resolve_model; resolve_model('recbole.DIN');"
        "import sys; assert 'recbole.model.sequential_recommender.sine' in sys.modules;"
        "raise SystemExit(torch.is_anomaly_enabled())"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0


def test_anomaly_mode_that_an_earlier_import_left_on_is_undone_once_only():
    code = (
        "import torch, recbole.model.sequential_recommender; assert torch.is_anomaly_enabled();"
        "from recbole_nif import compat; compat.apply(); assert not torch.is_anomaly_enabled();"
        "torch.autograd.set_detect_anomaly(True); compat.apply(); assert torch.is_anomaly_enabled()"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code]).returncode == 0


def test_recboles_files_are_read_by_the_c_engine_with_the_numbers_of_python(tmp_path, monkeypatch):
    texts = ["0.1", "978300760.123456", "1e-310", "2.2250738585072011e-308", "179769313486231570e291", "7"]
    path = tmp_path / "toy.inter"
    path.write_text("time:float\ttoken:token\n" + "".join(f"{text}\t007\n" for text in texts))
    used = []
    read_csv = pandas.read_csv
    monkeypatch.setattr(pandas, "read_csv", lambda *a, **k: used.append(k["engine"]) or read_csv(*a, **k))
    kinds = {"time:float": "float64", "token:token": str}
    with compat.c_engine():
        frame = recbole.data.dataset.dataset.pd.read_csv(path, delimiter="\t", dtype=kinds, engine="python")
    assert frame["time:float"].tolist() == [float(text) for text in texts]
    assert frame["token:token"].tolist() == ["007"] * len(texts)
    assert used == ["c"] and recbole.data.dataset.dataset.pd is pandas


def test_a_separator_of_several_characters_is_left_to_the_python_engine(tmp_path):
    path = tmp_path / "toy.inter"
    path.write_text("a:token::b:token\n1::NA\n")
    kinds = {"a:token": str, "b:token": str}
    with compat.c_engine():
        read_csv = recbole.data.dataset.dataset.pd.read_csv
        frame = read_csv(path, delimiter="::", dtype=kinds, engine="python")
    assert frame.to_numpy().tolist() == [["1", "NA"]]
