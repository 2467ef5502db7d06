"""A CSV file whose lines do not fit its header is refused: pandas would shift or fill up their cells."""

import bz2
import csv
import gzip
import lzma
import zlib
from pathlib import Path

from recbole_nif.errors import UserError

OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LONGEST = 2**31 - 1  # of a cell, in characters
NOT_LOOKED_INTO = (".zip", ".tar", ".zst")  # pandas reads these, too


def check_cells(path: Path) -> None:
    """Reads the file once, in a third of a second for a million lines.

    Raises:
        UserError: a line has fewer cells than the header, or more that are not empty; or it cannot be read.
    """
    if path.suffix in NOT_LOOKED_INTO:
        return
    limit = csv.field_size_limit(LONGEST)
    try:
        with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            width = len(header)
            for row in reader:
                if len(row) != width and row and (len(row) < width or any(row[width:])):
                    raise UserError(
                        f"{path}, line {reader.line_num} has {len(row)} cells, but the header names {width}: "
                        "put quotation marks around a cell with a comma."
                    )
    except (ValueError, EOFError, OSError, csv.Error, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path} cannot be read: {error}. Is it the complete, original file?") from error
    finally:
        csv.field_size_limit(limit)
