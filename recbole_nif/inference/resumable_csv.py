"""A CSV file that is written in parts, and goes on where a killed process left it.

Beside it lies a small file that says of which job it is and how far it has come; it is replaced after each
part, so that what was written behind it is written again.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

import pandas as pd
from filelock import FileLock, Timeout

from recbole_nif.errors import UserError
from recbole_nif.inference.table_files import STANDARD
from recbole_nif.run_folder import write_json


class ResumableCSV:
    """The output of a job.

    Args:
        path: the file, or ``STANDARD``, which cannot be resumed.
        columns: the header.
        job: plain values that tell the job from others: of what the lines are made.

    Attributes:
        done: how many parts of the input are in the file already.
        finished: whether all are; then nothing more can be written.

    Raises:
        UserError: the file is there and is not of this job, or it cannot be written.
    """

    def __init__(self, path: str, columns: Sequence[str], job: Mapping):
        self.columns, self.job = list(columns), dict(job)
        self.done, self.finished = 0, False
        self.path = None if path == STANDARD else Path(path)
        if self.path is None:
            self.file: TextIO = sys.stdout
            self._write_header()
            return
        if not path:
            raise UserError("--output is empty: name a file, or - for the standard output.")
        if os.path.isdir(path):
            raise UserError(f"--output {path} is a folder: name a file in it.")
        self.beside = self.path.with_name(f".{self.path.name}.job.json")
        if not self.path.parent.is_dir():  # which the lock would make
            raise self._unwritable(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        self.lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=0)
        try:
            self.lock.acquire()
        except Timeout:
            raise UserError(
                f"--output {path} is being written by another process: wait for it, or name another."
            ) from None
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            n_bytes = self._read_progress()
        except UserError:
            self._unlock()
            raise
        if self.finished:
            self._unlock()
            return
        try:
            if not n_bytes:
                self._mark(0)  # before the file is there: it is never one of nobody's
            self.file = open(self.path, "a", encoding="utf-8", newline="")  # noqa: SIM115 (finish closes it)
            self.file.truncate(n_bytes)
            if not n_bytes:
                self._write_header()
        except OSError as error:
            raise self._unwritable(error) from None

    def write(self, frame: pd.DataFrame, parts: int) -> None:
        """Appends the lines of further ``parts`` of the input."""
        try:
            frame.to_csv(self.file, columns=self.columns, header=False, index=False, lineterminator="\n")
            self.done += parts
            self._flush()
        except OSError as error:
            raise self._unwritable(error) from None

    def finish(self) -> None:
        """Says that nothing more comes."""
        self.finished = True
        try:
            self._flush()
        except OSError as error:
            raise self._unwritable(error) from None
        if self.path is not None:
            self.file.close()
            self._unlock()

    def discard_if_empty(self) -> None:
        """Leaves nothing behind where a mistake came before the first line."""
        if self.path is not None and not self.done:
            self.file.close()
            self.path.unlink()
            self.beside.unlink()
            self._unlock()

    def _unlock(self) -> None:
        self.lock.release()
        Path(self.lock.lock_file).unlink(missing_ok=True)

    def _write_header(self) -> None:
        csv.writer(self.file, lineterminator="\n").writerow(self.columns)

    def _flush(self) -> None:
        """Makes what was written count."""
        self.file.flush()
        if self.path is not None:
            os.fsync(self.file.fileno())
            self._mark(os.fstat(self.file.fileno()).st_size)

    def _mark(self, n_bytes: int) -> None:
        progress = {"parts": self.done, "bytes": n_bytes, "finished": self.finished}
        write_json(self.beside, {"job": self.job, **progress})

    def _read_progress(self) -> int:
        """How many bytes of the file count."""
        if not os.path.exists(self.path):
            return 0
        try:
            told = json.loads(self.beside.read_text(encoding="utf-8"))
            same = told["job"] == json.loads(json.dumps(self.job))
            self.done, self.finished, n_bytes = told["parts"], told["finished"], told["bytes"]
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise UserError(
                f"--output {self.path} is there already and not of this command: remove it, or name another."
            )
        size = self.path.stat().st_size
        if size < n_bytes or (self.finished and size > n_bytes):
            raise UserError(f"--output {self.path} was changed since: remove it to begin anew.")
        return n_bytes

    def _unwritable(self, error: OSError) -> UserError:
        name = self.path or STANDARD
        return UserError(
            f"--output {name} cannot be written ({error.strerror}): free space, or name another."
        )


def digest(path: str | Path) -> str | None:
    """What tells the content of a file from others; None where there is no file."""
    if not os.path.isfile(path):
        return None
    made = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            made.update(block)
    return made.hexdigest()
