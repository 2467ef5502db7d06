"""Tables that users hand over: data frames, Arrow tables, lists of records; each checked before use."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from recbole_nif.errors import UserError
from recbole_nif.inference.columns import as_numbers
from recbole_nif.inference.row_error import RowError


def as_frame(table) -> pd.DataFrame:
    """``table`` as a data frame with rows 0..N-1: it may be one, an Arrow table, or a list of mappings.

    Raises:
        UserError: it is something else, or names a column twice.
    """
    if hasattr(table, "to_pandas"):  # an Arrow table
        table = table.to_pandas()
    if isinstance(table, Mapping | list | tuple):
        try:
            table = pd.DataFrame(table)
        except OverflowError:  # a whole number beyond all floats
            table = pd.DataFrame(table, dtype=object)
        except (ValueError, TypeError, AttributeError) as error:
            raise UserError(f"The rows make no table ({error}): give mappings of the same columns.") from None
    if not isinstance(table, pd.DataFrame):
        raise UserError(
            f"A {type(table).__name__} is no table: give a DataFrame, an Arrow table or a list of mappings."
        )
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise UserError(f"The table names the column {twice[0]!r} twice: rename or remove one.")
    return table.reset_index(drop=True)


def require(frame: pd.DataFrame, columns: Collection[str]) -> None:
    """Raises a UserError for the first of ``columns`` that is not there or has a cell without a value."""
    for name in columns:
        if name not in frame:
            raise UserError(
                f"The table has no column {name!r}: it has {', '.join(map(repr, frame.columns)) or 'none'}."
            )
        missing = (frame[name].isna() | (frame[name].astype(object) == "")).to_numpy()
        if missing.any():
            raise RowError(missing.argmax(), f"{name} is missing: fill it, or remove the row.")


def times_of(frame: pd.DataFrame, name: str) -> np.ndarray:
    """The times in column ``name``, [N] int64 where all are whole, else float64.

    Raises:
        UserError: no such column, a missing time, or one that is no number.
    """
    require(frame, [name])
    return as_numbers(frame[name], name)
