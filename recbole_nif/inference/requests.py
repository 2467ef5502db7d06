"""What else a request says: its time, and the context of each candidate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from recbole_nif.errors import UserError
from recbole_nif.inference.serving_data import ServingData


def time_of(at: float | None) -> np.ndarray | None:
    """The time of a request, [1], exact for whole numbers; None = directly behind the last event.

    Raises:
        UserError: no finite number.
    """
    if at is None:
        return None
    try:
        time = np.array([at if isinstance(at, int | np.integer) else float(at)])
        if time.dtype.kind in "if" and np.isfinite(time).all():  # beyond 64 bits it would be another kind
            return time
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"at is {at!r}: give a finite number in the unit of the data's times.")


def context_columns(
    data: ServingData, values: Mapping | pd.DataFrame | None, size: int, at: np.ndarray | None
) -> dict[str, Tensor]:
    """The columns of N = ``size`` impressions, name -> [N, ...].

    What is not given is padding, but for the column of times, which is that of the request.

    Args:
        values: a table of N rows, or column -> one value for all or a list of N.
        at: [N] or [1].

    Raises:
        UserError: a mapping that names another column, or gives another number of values.
    """
    values = {} if values is None else values
    if not isinstance(values, pd.DataFrame):
        for name in values:
            if name not in data.context:
                known = ", ".join(data.context) or "none"
                raise UserError(
                    f"context names {name!r}, which is no column of impressions: they are {known}."
                )
    columns = {}
    for name, like in data.context.items():
        cells = values.get(name)
        if cells is None and name == data.rule.time and at is not None:
            cells = np.broadcast_to(at, size)
        if cells is None:
            columns[name] = data.columns.missing(name, size, like)
            continue
        if isinstance(cells, str) or not isinstance(cells, Iterable):
            cells = [cells] * size
        if len(cells) != size:
            raise UserError(f"context gives {len(cells)} values of {name} for {size} items: give one each.")
        columns[name] = data.columns.encode(name, cells, like)
    return columns
