"""Pairs among the rows that a batch holds anyway (``tsp_partner: in_batch``): no row is added.

Batches keep rows of one moveline window together, so most rows find a row of their user, with the
opposite label and another time, beside them. A pair drawn elsewhere costs a row of its own, half as many
again with ``tsp_ratio: 0.5``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_nif.data.event_log import EventLog


class BatchPairs:
    """Pairs every chosen row with the nearest earlier opposite-label row of its user in the batch.

    If there is no earlier one, with the nearest later one; if there is neither, the row has no partner.

    Args:
        log: the event log.
        mode: ``same_time`` pairs rows of one timestamp, ``random`` rows of any time; every other mode
            rows of strictly different times.
        window: largest time distance in seconds; None for no limit.
        ratio: share of the rows that look for a partner in an epoch.
        seed: of the choice of these rows.
    """

    def __init__(self, log: EventLog, *, mode: str, window: float | None, ratio: float, seed: int):
        self.log, self.mode, self.ratio, self.seed = log, mode, ratio, seed
        self.window = np.inf if window is None else window

    def draw(self, epoch: int) -> Tensor:
        """Which rows look for a partner in this epoch: [rows of the dataset] bool."""
        rng = np.random.default_rng([self.seed, epoch, 1])
        return torch.from_numpy(rng.random(len(self.log.position)) < self.ratio)

    def partners(self, rows: Tensor, looking: Tensor) -> Tensor:
        """The place in ``rows`` [B] of each row's partner, -1 for none; looking: [B] bool -> [B] int64."""
        log = self.log
        position = log.position[rows].numpy().astype(np.int64)
        label, time = log.label.numpy()[position], log.timestamp.numpy()[position]
        earlier, later = self._candidates(position)
        order = np.argsort(position, kind="stable")
        partner = np.full(len(rows), -1, dtype=np.int64)
        for value in (0, 1):
            own = np.flatnonzero((label == value) & looking.numpy())
            others = order[label[order] == 1 - value]
            if not len(others):
                continue
            at = position[others]
            # the last place before `earlier` ends and the first one from where `later` begins
            before = np.searchsorted(at, earlier[1][own]) - 1
            after = np.searchsorted(at, later[0][own]).clip(max=len(others) - 1)
            for place, (low, high) in ((after, later), (before, earlier)):
                near = np.abs(time[others[place]] - time[own]) <= self.window
                found = (place >= 0) & (at[place] >= low[own]) & (at[place] < high[own]) & near
                partner[own[found]] = others[place[found]]
        return torch.from_numpy(partner)

    def _candidates(self, position: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Log positions [low, high) of partners before the rows, and of those behind them."""
        log = self.log
        user = log.user.numpy()[position]
        tie = log.tie_begin.numpy()[position], log.tie_end.numpy()[position]
        if self.mode == "same_time":
            return tie, (tie[1], tie[1])
        begin, end = log.offsets.numpy()[user], log.offsets.numpy()[user + 1]
        if self.mode == "random":
            return (begin, position), (position + 1, end)
        return (begin, tie[0]), (tie[1], end)
