"""Checks of RecBole's atomic files, which RecBole itself reads without a word about what is wrong in them.

pandas turns short lines and unreadable cells into NaN, and RecBole drops or fills those. Here the header is
checked before a file is read, every line's number of cells in one pass over its bytes, and the frame that
RecBole made of it as a whole; only when something is wrong the file is read again to name the line.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_nif.errors import UserError

TYPES = ("token", "token_seq", "float", "float_seq")
SEPARATORS = {"\t": r"'\t'", ",": "','", ";": "';'", "|": "'|'"}  # tried where a header has one column
UNIT_SEPARATOR = "\x1f"  # stands for a separator of several characters, which csv does not know
BLOCK = 1 << 20  # bytes of a file looked at together
SHOWN = 60  # characters of a wrong cell that a message repeats
MISSING_NUMBERS = ("", "nan", "NaN", "NAN", "NA", "N/A", "<NA>", "null", "NULL", "None")
LARGEST = 2.0**63  # exclusive bound of times, which become int64


@dataclass(frozen=True)
class AtomicFile:
    """One file with a typed header line such as ``user_id:token<tab>timestamp:float``.

    Args:
        path: the file.
        separator, seq_separator, encoding: RecBole's ``field_separator``, ``seq_separator``, ``encoding``.
    """

    path: Path
    separator: str = "\t"
    seq_separator: str = " "
    encoding: str = "utf-8-sig"

    @classmethod
    def of(cls, path: str | Path, config) -> AtomicFile:
        """The file at ``path``, read as the configuration says.

        Raises:
            UserError: an empty separator or an encoding that Python does not know.
        """
        for key in ("field_separator", "seq_separator"):
            if not config[key]:
                raise UserError(f"{key} is empty: set it to the character that separates, such as ' '.")
        encoding = config["encoding"] or "utf-8-sig"
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise UserError(f"encoding {encoding!r} is unknown: use utf-8-sig, gbk, latin-1, ….") from None
        return cls(Path(path), config["field_separator"], config["seq_separator"], encoding)

    @cached_property
    def types(self) -> dict[str, str]:
        """Type by column name, as the header line says.

        Raises:
            UserError: no file, wrong encoding, no types, an unknown type, a column that is named twice.
        """
        try:
            with open(self.path, encoding=self.encoding) as file:
                header = file.readline().rstrip("\n")
        except OSError as error:
            raise UserError(f"Cannot read {self.path}: {error.strerror}.") from None
        except UnicodeError as error:
            raise self.unreadable(error) from None
        if not header:
            raise UserError(f"{self.path} has no header line: begin it with one such as user_id:token.")
        if header.startswith("\ufeff"):
            raise UserError(f"{self.path} begins with a byte-order mark: set encoding: utf-8-sig.")
        types: dict[str, str] = {}
        for cell in header.split(self.separator):
            name, colon, kind = cell.partition(":")
            if not colon or kind not in TYPES:
                raise UserError(self._untyped(header, cell))
            if name in types:
                raise UserError(f"{self.path} names the column {name!r} twice: rename or remove one.")
            types[name] = kind
        return types

    def require(self, wanted: Collection[str], key: str) -> None:
        """Raises a UserError where the header lacks a column that the configuration's ``key`` names."""
        for name in wanted:
            if name not in self.types:
                raise UserError(
                    f"{self.path} has no column {name!r}, which {key} names: it has {', '.join(self.types)}."
                )

    def check_lines(self) -> None:
        """Raises a UserError for the first line that has more or fewer cells than the header."""
        if next(self._records(), None) is None:
            raise UserError(f"{self.path} has a header line but no rows: add some.")
        if self._looks_even():
            return
        for line, cells in self._records():
            if any("\n" in cell for cell in cells):
                raise UserError(
                    f"{self.path}, line {line} has a quotation mark that hides the line's end: remove it."
                )
            if len(cells) != len(self.types):
                raise UserError(
                    f"{self.path}, line {line} has {len(cells)} cells, but the header names "
                    f"{len(self.types)}: correct or remove the line."
                )

    def check_values(self, frame: pd.DataFrame, required: Collection[str], time: str | None = None) -> None:
        """Raises a UserError for the first missing cell of a required column or number without a value.

        Args:
            frame: what RecBole read, one row per record in the file's order.
            required: columns of which no cell may be missing; in others RecBole fills what is missing.
            time: the column of times, which must fit into 64 bits.
        """
        for name, values in frame.items():
            if name in required and (missing := values.isna().to_numpy()).any():
                line, cell = self._cell(name, missing.argmax())
                raise UserError(
                    f"{self.path}, line {line}: {name} is missing (the cell is {cell!r}): fill it, or remove "
                    f"the line."
                )
            if values.dtype == np.float64:
                wild = np.abs(values.to_numpy()) >= (LARGEST if name == time else np.inf)
                if wild.any():
                    line, cell = self._cell(name, wild.argmax())
                    raise UserError(
                        f"{self.path}, line {line}: {name} is {cell!r}, which is infinite or too large: "
                        f"correct or remove the line."
                    )

    def cells(self, names: Collection[str]) -> dict[str, list[str]]:
        """Every record's cell of some columns, as written."""
        places = [list(self.types).index(name) for name in names]
        picked = [[cells[place] for place in places] for _, cells in self._records()]
        return dict(zip(names, map(list, zip(*picked, strict=True)), strict=True))

    def unreadable(self, error: Exception) -> UserError:
        """The sentence for what pandas could not read: bytes, numbers or quotation marks."""
        if isinstance(error, UnicodeError):
            return UserError(
                f"{self.path} is not {self.encoding} text: set encoding to what it was written in, or save "
                f"it as UTF-8."
            )
        if isinstance(error, csv.Error | pd.errors.ParserError):
            return UserError(f"{self.path} cannot be read ({error}): check its quotation marks.")
        for name, kind in self.types.items():
            if kind.startswith("float") and (place := self._first_non_number(name)) is not None:
                line, cell = self._cell(name, place)
                return UserError(
                    f"{self.path}, line {line}: {name} is {cell!r}, where the header promises {kind}: "
                    f"correct the line, or the type in the header."
                )
        return UserError(f"{self.path} cannot be read ({error}): check it against its header.")

    # -- looking closer

    def _untyped(self, header: str, cell: str) -> str:
        """What is wrong with a header's cell that is no ``name:type``."""
        if self.separator not in header:
            for separator, shown in SEPARATORS.items():
                if separator in header:
                    return f"{self.path} seems to be separated by {shown}: set field_separator to it."
        return (
            f"{self.path}: the header says {cell[:SHOWN]!r}, which is no name:type: use one of the types "
            f"{', '.join(TYPES)}, such as user_id:token."
        )

    def _looks_even(self) -> bool:
        """Whether every line has as many separators as the header; with quotation marks nobody can tell."""
        if len(self.separator) != 1 or ord(self.separator) > 127:
            return False
        rest = b""
        with open(self.path, "rb") as file:
            while block := file.read(BLOCK):
                lines, newline, rest = (rest + block).rpartition(b"\n")
                if not _even(lines + newline, ord(self.separator), len(self.types) - 1):
                    return False
        return _even(rest + b"\n", ord(self.separator), len(self.types) - 1)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """First line and cells of every record but the header, blank lines left out as pandas does."""
        end = 0
        try:
            with open(self.path, encoding=self.encoding, newline="") as file:
                if len(self.separator) == 1:
                    reader = csv.reader(file, delimiter=self.separator)
                else:
                    lines = (line.replace(self.separator, UNIT_SEPARATOR) for line in file)
                    reader = csv.reader(lines, delimiter=UNIT_SEPARATOR)
                for cells in reader:
                    line, end = end + 1, reader.line_num
                    if line > 1 and (len(cells) > 1 or (cells and cells[0].strip())):
                        yield line, cells
        except (csv.Error, UnicodeError) as error:
            raise self.unreadable(error) from None

    def _cell(self, name: str, place: int) -> tuple[int, str]:
        """Line number and content of a column's cell in record ``place``."""
        line, cells = next(islice(self._records(), int(place), None))
        return line, cells[list(self.types).index(name)][:SHOWN]

    def _first_non_number(self, name: str) -> int | None:
        """The first record whose cell of a float column is neither a number nor missing."""
        column = f"{name}:{self.types[name]}"
        missing = missing_cells({column: np.float64 if self.types[name] == "float" else str})
        text = pd.read_csv(
            self.path, sep=self.separator, usecols=[column], dtype=str, encoding=self.encoding,
            engine="python", **missing,
        ).iloc[:, 0]  # fmt: skip
        parts = text.str.split(self.seq_separator).explode() if self.types[name] == "float_seq" else text
        wrong = parts.notna() & (parts != "") & pd.to_numeric(parts, errors="coerce").isna()
        return int(parts.index[wrong.to_numpy().argmax()]) if wrong.any() else None


def missing_cells(types: Mapping[str, type]) -> dict:
    """Arguments of ``read_csv`` for columns of ``types``: a token is missing where its cell is empty.

    By default pandas takes names such as NA, None and null for missing too, as it still does of numbers.
    """
    values = {name: [""] if kind is str else list(MISSING_NUMBERS) for name, kind in types.items()}
    return {"keep_default_na": False, "na_values": values}


def _even(lines: bytes, separator: int, wanted: int) -> bool:
    """Whether all of ``lines`` but blank ones hold ``wanted`` separators and no quotation mark."""
    data = np.frombuffer(lines, dtype=np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    count = np.diff(np.searchsorted(np.flatnonzero(data == separator), ends), prepend=0)
    length = np.diff(ends, prepend=-1) - 1
    blank = (length == 0) | ((length == 1) & (data[ends - 1] == ord("\r")))
    return bool(((count == wanted) | blank).all()) and not (data == ord('"')).any()
