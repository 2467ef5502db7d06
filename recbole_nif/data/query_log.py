"""A log that is asked what users saw at any time, where an :class:`EventLog` knows that of its rows."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from recbole_nif.data.event_log import EventLog


@dataclass(frozen=True, kw_only=True)
class QueryLog(EventLog):
    """The events of a log, and Q queries that take the place of its rows: row q is query q.

    Build with :meth:`of`. Windows, gaps and histories are read as those of rows, by the same code.
    """

    begin: Tensor  # [Q] int64, the log positions [begin, end) that each query sees
    end: Tensor  # [Q] int64
    time: Tensor  # [Q], when it is asked

    @classmethod
    def of(cls, log: EventLog, user: np.ndarray, at: np.ndarray | None) -> QueryLog:
        """Queries about users at times.

        With ``history_ties: strict`` a query sees what is earlier than its time, as a row does; with
        ``order`` also the events of that time, since it comes behind all that has happened.

        Args:
            log: its ``frozen_end`` must not be set.
            user: [Q] integers, user numbers of ``log``.
            at: [Q]; None = directly behind the user's last event, all of which are seen.
        """
        begin, end = (log.offsets.numpy()[user + place] for place in (0, 1))
        time = log.timestamp.numpy()
        if at is None:
            at = np.where(end > begin, time[np.maximum(end - 1, 0)], 0)
        else:
            end = _first(time, at, begin, end, strict=log.strict)
        columns = {field.name: getattr(log, field.name) for field in fields(log)}
        query = {"begin": begin, "end": end, "time": np.ascontiguousarray(at)}
        return cls(**columns, **{name: torch.from_numpy(values) for name, values in query.items()})

    def visible(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        return self.begin[rows], self.end[rows]

    def row_time(self, rows: Tensor) -> Tensor:
        return self.time[rows]


def _first(
    time: np.ndarray, at: np.ndarray, begin: np.ndarray, end: np.ndarray, *, strict: bool
) -> np.ndarray:
    """The first position in each sorted run [begin, end) of ``time`` that is not before ``at``, all [Q].

    Bisection of all runs at once: as many steps as the longest one has binary digits.
    """
    low, high = begin, end
    while (searching := low < high).any():
        middle = (low + high) // 2
        there = time[np.minimum(middle, len(time) - 1)]
        before = searching & ((there < at) if strict else (there <= at))
        low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
    return low
