"""The files of an export: tensors as safetensors, all else as JSON; what is wrong is told in one sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from recbole_nif.errors import UserError

AGAIN = "copy the whole folder of the export again"


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """Writes plain values as JSON."""
    path.write_text(json.dumps(values, ensure_ascii=True) + "\n", encoding="utf-8")


def read_values(path: Path) -> dict[str, Any]:
    """The values of a file of :func:`write_values`.

    Raises:
        UserError: there is none, or it is no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): {AGAIN}.") from None
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: {AGAIN}.")
    return values


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors by name; ones that share memory are written each."""
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of :func:`write_tensors`.

    Raises:
        UserError: there is none, or it is damaged.
    """
    try:
        return load_file(path)
    except OSError as error:
        reason = error.strerror or "it is not there"
        raise UserError(f"{path} cannot be read ({reason}): {AGAIN}.") from None
    except SafetensorError:
        raise UserError(f"{path} is damaged: {AGAIN}.") from None


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its place when the block ends without an error.

    Raises:
        UserError: ``target`` holds something, or cannot be written.
    """
    if not target.name:
        raise UserError(f"{target} has no name of its own: give the name of a new folder.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    made: list[Path] = []
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"{target} is there already: give a new folder, or remove it.")
        made += [folder for folder in temporary.absolute().parents if not folder.exists()]
        temporary.mkdir(parents=True)
        yield temporary
        if target.is_dir():
            target.rmdir()
        temporary.rename(target)
    except OSError as error:
        raise UserError(
            f"Cannot write {target} ({error.strerror}): free space or give another folder."
        ) from None
    except SafetensorError as error:  # its writer turns a full disk into one
        raise UserError(f"Cannot write {target} ({error}): free space or give another folder.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # it holds the export, or was not made
                folder.rmdir()
