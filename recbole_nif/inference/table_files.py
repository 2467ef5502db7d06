"""CSV files read in chunks, of which every line is checked; - is standard input."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TextIO

import pandas as pd

from recbole_nif.errors import UserError

STANDARD = "-"
LARGEST_CELL = 1 << 20  # characters; what is longer is a quotation mark that nobody closed


def read_once(path: str) -> bool:
    """Whether nobody can read it twice: standard input, or a pipe."""
    return path == STANDARD or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))


class TableFile:
    """A CSV file with a header line.

    Args:
        path: the file, or ``STANDARD``.
        option: what a message calls it, such as ``--input``.
    """

    def __init__(self, path: str, option: str):
        self.path, self.option = path, option
        self.name = "standard input" if path == STANDARD else path

    @contextmanager
    def opened(self) -> Iterator[TextIO]:
        """The file, as UTF-8 text.

        Raises:
            UserError: it cannot be opened.
        """
        if self.path == STANDARD:
            file = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
            try:
                yield file
            finally:
                file.detach()
            return
        try:
            file = open(self.path, encoding="utf-8-sig", newline="")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise UserError(
                f"{self.option} {self.path} cannot be read ({error.strerror}): check it."
            ) from None
        with file:
            yield file

    def chunks(self, size: int, skip: int = 0) -> Iterator[pd.DataFrame]:
        """The rows behind the first ``skip``, ``size`` at a time, all cells as text.

        The index of a frame is the line of the file that each row begins in.

        Raises:
            UserError: no header, a line with more or fewer cells, a column named twice, broken quotation
                marks, no UTF-8.
        """
        csv.field_size_limit(LARGEST_CELL)
        try:
            with self.opened() as file:
                reader = csv.reader(file, strict=True)
                header = next(reader, None)
                if not header:
                    raise UserError(
                        f"{self.name} has no header line: begin it with the names of its columns."
                    )
                twice = [name for place, name in enumerate(header) if name in header[:place]]
                if twice:
                    raise UserError(f"{self.name} names the column {twice[0]!r} twice: rename or remove one.")
                rows = islice(self._rows(reader, header), skip, None)
                while chunk := list(islice(rows, size)):
                    lines, cells = zip(*chunk, strict=True)
                    yield pd.DataFrame(list(cells), columns=header, index=pd.Index(lines), dtype=object)
        except csv.Error as error:
            raise UserError(
                f"{self.name} cannot be read at line {reader.line_num} ({error}): correct it."
            ) from None
        except UnicodeDecodeError:
            raise UserError(f"{self.name} is not UTF-8 text: save it as UTF-8.") from None

    def _rows(self, reader, header: list[str]) -> Iterator[tuple[int, list[str]]]:
        end = reader.line_num
        for cells in reader:
            line, end = end + 1, reader.line_num
            if not cells:
                continue  # a blank line
            if len(cells) != len(header):
                raise UserError(
                    f"{self.name}, line {line} has {len(cells)} cells, but the header names {len(header)}: "
                    f"correct or remove the line."
                )
            yield line, cells

    def header(self) -> list[str]:
        """The names of the columns of a file that can be read twice."""
        try:
            with self.opened() as file:
                return next(csv.reader(file), [])
        except (csv.Error, UnicodeDecodeError):
            return []  # which ``chunks`` tells
