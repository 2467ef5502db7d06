"""The two halves of a model as ONNX files, each run by onnxruntime and compared before it is kept.

A folder gets ``user.onnx``, ``candidates.onnx`` and ``halves.json``, which names and measures the inputs and
outputs. The outputs of the first are inputs of the second, under the same names; ``state_of`` names the state
of each candidate. GenCI's generated codes are those of the Python model as far as no two are equally probable
up to rounding.
"""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recbole_nif.errors import UserError
from recbole_nif.export.halves import STATE_OF, Half, halves_of
from recbole_nif.files import written_whole
from recbole_nif.model.base import CTRModel
from recbole_nif.run_folder import write_json

SCHEMA = 1
NAMES = ("user.onnx", "candidates.onnx")
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4  # of probabilities


def export_halves(model: CTRModel, batch, folder: str | Path) -> list[Path]:
    """Writes the model's halves as ONNX graphs, and what their inputs and outputs are.

    Args:
        model: trained.
        batch: rows of its data, at least one, as ``CTRDataset.read`` gives them; on them the graphs must
            score as the model does.
        folder: is there.

    Returns:
        The files written.

    Raises:
        UserError: a package of the extra ``onnx`` is missing, the model has no halves, it does what
            torch.export or ONNX cannot do, or its graphs score otherwise.
    """
    require_packages()
    folder, halves = Path(folder), halves_of(model, batch)
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(written_whole(folder / name)) for name in NAMES]
        for half, part in zip(halves, parts, strict=True):
            _write(half, part, type(model).__name__)
        _compare(model, batch, OnnxHalves(*parts))
    record = {"schema": SCHEMA, "model": type(model).__name__}
    for name, half in zip(NAMES, halves, strict=True):
        record[Path(name).stem] = {"file": name} | _described(half)
    write_json(folder / "halves.json", record)
    return [*(folder / name for name in NAMES), folder / "halves.json"]


def require_packages() -> None:
    """Raises a UserError where a package of the extra ``onnx`` is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}: pip install 'recbole-nif[onnx]'.")


class OnnxHalves:
    """Both graphs in onnxruntime, from their files."""

    def __init__(self, user: str | Path, candidates: str | Path):
        import onnxruntime

        self.user, self.candidates = (
            onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            for path in (user, candidates)
        )

    def encode_user(self, batch) -> dict[str, np.ndarray]:
        """The user states of a batch, by name."""
        return _run(self.user, {field.name: _array(batch[field.name]) for field in self.user.get_inputs()})

    def score(self, state: Mapping[str, np.ndarray], candidates, rows: np.ndarray) -> np.ndarray:
        """Probabilities [N] of ``candidates`` (items, contexts); ``rows`` [N] names the state of each."""
        known = {**state, STATE_OF: np.asarray(rows, dtype=np.int64)}
        inputs = [field.name for field in self.candidates.get_inputs()]
        fed = {name: known[name] if name in known else _array(candidates[name]) for name in inputs}
        return _run(self.candidates, fed)["probability"]


def _run(session, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _array(values: Tensor | np.ndarray) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _write(half: Half, path: Path, model: str) -> None:
    try:
        with _silenced(), torch.no_grad():
            graph = torch.onnx.export(
                half.program,
                dynamo=True,
                verbose=False,
                input_names=list(half.inputs),
                output_names=list(half.outputs),
            )
    except torch.onnx.OnnxExporterError as error:
        reason = (str(error.__cause__ or error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"ONNX has no form for a half of {model}: {reason}") from error
    graph.save(path)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """torch's exporter warns of its own doings."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _compare(model: CTRModel, batch, graphs: OnnxHalves) -> None:
    training = model.training
    with torch.no_grad():
        expected = _array(model.eval().predict(batch))
    model.train(training)
    given = graphs.score(graphs.encode_user(batch), batch, np.arange(len(expected)))
    difference = float(np.abs(given - expected).max())
    if not difference <= TOLERANCE:
        raise UserError(
            f"The graphs of {type(model).__name__} differ from the model by {difference:.1e}: none is kept."
        )


def _described(half: Half) -> dict:
    inputs = [
        {"name": name, "type": str(tensor.dtype).removeprefix("torch."), "shape": list(half.sizes[name])}
        for name, tensor in half.inputs.items()
    ]
    return {"inputs": inputs, "outputs": [{"name": n, "shape": list(s)} for n, s in half.outputs.items()]}
