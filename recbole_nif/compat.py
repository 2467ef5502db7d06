"""What stock RecBole 1.2.1 needs on current libraries; every shim names the RecBole line that it repairs.

A shim is applied only where the line would fail, and a second call changes nothing. ``torch.load`` is
never loosened, except by the explicit ``trust_recbole_pickles()``.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType

from recbole_nif.errors import UserError


def apply() -> None:
    """Applies the shims that the installed libraries make necessary."""
    _require_pandas_2()
    _add_numpy_aliases()
    _add_dok_update()
    _let_download_finish()
    _leave_anomaly_mode()


def trust_recbole_pickles() -> None:
    """Lets code of RecBole, and no other, load pickles with ``torch.load`` on torch >= 2.6.

    RecBole's checkpoints hold a pickled Config, which ``weights_only=True`` refuses (trainer/trainer.py:323
    and 583, quick_start/quick_start.py:250). A pickle runs the code it holds: opt in for trusted files only.
    """
    import torch

    original = torch.load
    if getattr(original, "trusts_recbole", False):
        return

    @wraps(original)
    def load(*args, **kwargs):
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.startswith("recbole."):
            kwargs.setdefault("weights_only", False)
        return original(*args, **kwargs)

    load.trusts_recbole = True
    torch.load = load


def import_recbole_model(module: str) -> ModuleType:
    """Imports a module of RecBole's models and leaves autograd's anomaly mode as it was.

    model/sequential_recommender/sine.py:25 switches it on for the whole process, and importing any
    sequential model imports all of them: every later training step would run several times slower.
    """
    import torch

    with torch.autograd.set_detect_anomaly(torch.is_anomaly_enabled()):  # restores the mode on leaving
        return importlib.import_module(module)


@contextmanager
def c_engine() -> Iterator[None]:
    """Within it RecBole reads atomic files with pandas' C engine, where the separator is one character.

    data/dataset/dataset.py:492 asks for the Python engine, which takes several times as long and more memory.
    ``round_trip`` makes the C engine's numbers those of Python's ``float``, to the last digit. Tokens such as
    NA and None are tokens.
    """
    from recbole.data.dataset import dataset as module

    pandas = module.pd
    module.pd = _PandasWithCEngine(pandas)
    try:
        yield
    finally:
        module.pd = pandas


class _PandasWithCEngine:
    """pandas, but for ``read_csv``'s engine and what it takes for missing."""

    def __init__(self, pandas: ModuleType):
        self._pandas = pandas

    def __getattr__(self, name: str):
        return getattr(self._pandas, name)

    def read_csv(self, path, *, delimiter: str, **options):
        from recbole_nif.data.validation import missing_cells

        options |= missing_cells(options["dtype"])
        if len(delimiter) == 1:
            options |= {"engine": "c", "float_precision": "round_trip"}
        return self._pandas.read_csv(path, delimiter=delimiter, **options)


def _leave_anomaly_mode() -> None:
    """Undoes model/sequential_recommender/sine.py:25 where it was imported before us, once.

    Whoever wants anomaly mode switches it on afterwards.
    """
    import torch

    sine = sys.modules.get("recbole.model.sequential_recommender.sine")
    if sine is not None and not hasattr(sine, "left_anomaly_mode"):
        torch.autograd.set_detect_anomaly(False)
        sine.left_anomaly_mode = True


def _require_pandas_2() -> None:
    """data/dataset/dataset.py:501, 648, 650 fill gaps of a column in place, which pandas 3 ignores."""
    import pandas

    if int(pandas.__version__.partition(".")[0]) >= 3:
        raise UserError(f"RecBole 1.2.1 loses values on pandas {pandas.__version__}: pip install 'pandas<3'.")


def _add_numpy_aliases() -> None:
    """config/configurator.py:630-635 reads np.float_, np.complex_ and np.unicode_, which numpy 2 has dropped.

    np.bool8 is what the ray that recbole.quick_start imports reads (tune/logger/tensorboardx.py:41).
    """
    import numpy

    if int(numpy.__version__.partition(".")[0]) >= 2:
        numpy.float_, numpy.complex_ = numpy.float64, numpy.complex128
        numpy.unicode_, numpy.bool8 = numpy.str_, numpy.bool_


def _add_dok_update() -> None:
    """model/general_recommender/lightgcn.py:111, ngcf.py:110, … call dok_matrix._update, gone from scipy."""
    from scipy.sparse import dok_matrix

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda self, entries: self._dict.update(entries)


def _let_download_finish() -> None:
    """data/dataset/dataset.py:252 ends a download with a barrier, which fails where there is one process."""
    import torch
    from recbole.data.dataset import Dataset

    original = Dataset._download
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def download(self):
        try:
            original(self)
        except ValueError as error:
            alone = not torch.distributed.is_initialized()
            if not (alone and "process group has not been initialized" in str(error)):
                raise

    Dataset._download = download
