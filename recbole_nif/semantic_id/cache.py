"""Files named by the hash of what they were made from, so that a hit cannot be stale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock

from recbole_nif.errors import UserError
from recbole_nif.files import written_whole

HASH_LENGTH = 16  # hexadecimal digits of a file name


def cached_arrays(
    folder: Path, kind: str, key: object, make: Callable[[], dict[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], bool]:
    """What ``make`` returned when it was last called for this key, and whether it was not called now.

    Processes that start together wait for one.

    Args:
        folder: made if it is not there.
        kind: the beginning of the file's name.
        key: everything that the arrays depend on: JSON's types.

    Raises:
        UserError: the folder cannot be written.
    """
    path = folder / f"{kind}-{content_hash(key)}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if path.is_file():
                return _read(path), True
            made = make()
            with written_whole(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **made)
            return made, False
    except OSError as error:
        raise UserError(
            f"Cannot use the folder {folder} ({error.strerror}): free space or set semantic_id_cache."
        ) from None


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except (BadZipFile, ValueError, EOFError):
        raise UserError(f"{path} is damaged: remove it, and it will be made anew.") from None


def content_hash(key: object) -> str:
    """A hash of JSON's types."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_LENGTH]


def array_hash(values: np.ndarray) -> str:
    """A hash of an array's type, shape and content."""
    values = np.ascontiguousarray(values)
    digest = hashlib.sha256(f"{values.dtype.str}{values.shape}".encode())
    digest.update(values)
    return digest.hexdigest()[:HASH_LENGTH]
