"""Pairs for the Temporal Sequential Pairwise loss (reconstruction; defining property: arXiv 2411.11502).

A partner of a row is a row of the same user and split with the opposite label at a *different* time.
Candidates of a row are one run in the sorted list of opposite-label rows, so a draw is one multiplication.
"""

from __future__ import annotations

import numpy as np
import torch

from recbole_nif.data.event_log import EventLog


class PairSampler:
    """Draws at most one partner per training row and epoch, from (seed, epoch) alone.

    Args:
        log: the event log.
        train_rows: [R] row ids; partners come from these rows only.
        mode: ``same_time`` pairs rows of one timestamp, ``random`` rows of any time; every other mode
            rows of strictly different times.
        partner: ``nearest`` draws among the ``neighbors`` nearest earlier opposite-label rows, or the
            nearest later ones if there is no earlier one; ``random`` among all earlier, or all later ones;
            ``in_batch`` as ``nearest``, but a neighbor that the batch holds anyway is taken first.
        neighbors: K_p.
        window: largest time distance in seconds; None for no limit.
        ratio: share of the rows that get a partner in an epoch.
        seed: of the draws.
    """

    def __init__(
        self,
        log: EventLog,
        train_rows: torch.Tensor,
        *,
        mode: str = "logit",
        partner: str = "nearest",
        neighbors: int = 5,
        window: float | None = None,
        ratio: float = 0.5,
        seed: int = 0,
    ):
        self.ratio, self.seed = ratio, seed
        self.neighbors = neighbors if partner == "in_batch" else 0  # how many are looked for in a batch
        self.rows = train_rows.numpy()
        self.row_of = log.row_id.numpy()
        self.n_rows = len(log.position)
        self.number = np.zeros(self.n_rows, dtype=np.int64)  # of a row among the training rows
        self.number[self.rows] = np.arange(len(self.rows))
        position = log.position.numpy()[self.rows]
        label = log.label.numpy()
        trained = np.zeros(len(log), dtype=bool)
        trained[position] = True
        # Positions of each label's rows, and how many of them lie before a position.
        of_label = [np.flatnonzero(trained & (label == value)) for value in (0, 1)]
        before = [np.concatenate([[0], np.cumsum(trained & (label == value))]) for value in (0, 1)]
        clicked = label[position] == 1

        def count(at: np.ndarray) -> np.ndarray:
            """Opposite-label rows before log positions ``at``, per row."""
            return np.where(clicked, before[0][at], before[1][at])

        user = log.user.numpy()[position].astype(np.int64)
        begin, end = (log.offsets.numpy()[user + shift] for shift in (0, 1))
        low, high = count(begin), count(end)  # the user's opposite-label rows
        tie_low, tie_high = count(log.tie_begin.numpy()[position]), count(log.tie_end.numpy()[position])
        self.earlier = np.zeros(len(self.rows), dtype=bool)  # whether a row's candidates lie before it
        if mode == "same_time":
            self.low, self.high = tie_low, tie_high
        elif mode == "random":
            self.low, self.high = low, high
        else:
            if window is not None:
                low, high = self._within(log, position, window, count, begin, end)
            nearest = self.n_rows if partner == "random" else neighbors
            self.earlier = tie_low > low
            self.low = np.where(self.earlier, np.maximum(low, tie_low - nearest), tie_high)
            self.high = np.where(self.earlier, tie_low, np.minimum(high, tie_high + nearest))
        self.opposite = np.concatenate(
            [of_label[1], of_label[0]]
        )  # candidates of unclicked, then of clicked rows
        self.shift = np.where(clicked, len(of_label[1]), 0)

    @staticmethod
    def _within(log: EventLog, position, window: float, count, begin, end) -> tuple[np.ndarray, np.ndarray]:
        """Opposite-label rows at most ``window`` seconds away, as a range per row."""
        user, time = log.user.numpy().astype(np.int64), log.timestamp.numpy()
        span = float(time.max() - time.min()) + 2 * window + 1
        key = user * span + (time - time.min())  # increasing along the log
        own = key[position]
        first = np.searchsorted(key, own - window, side="left")
        last = np.searchsorted(key, own + window, side="right")
        return count(np.maximum(first, begin)), count(np.minimum(last, end))

    def draw(self, epoch: int) -> torch.Tensor:
        """The partner of every row in this epoch: [rows of the dataset] int64 row ids, -1 for none."""
        rng = np.random.default_rng([self.seed, epoch, 1])
        size = self.high - self.low
        pick = self.low + (rng.random(len(size)) * size).astype(np.int64)
        chosen = (size > 0) & (rng.random(len(size)) < self.ratio)
        partner = np.full(self.n_rows, -1, dtype=np.int64)
        partner[self.rows[chosen]] = self.row_of[self.opposite[(self.shift + pick)[chosen]]]
        return torch.from_numpy(partner)

    def in_batch(self, rows: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """The place in the batch of each row's nearest neighbor there, -1 for none; ``partner: in_batch``.

        That a row has a partner does not depend on the batch: if it did, the partner's label, which the
        row's history holds, would often tell that of the row.

        Args:
            rows: [B] row ids; drawn: [B], their partners of this epoch, -1 for none.

        Returns:
            [B] int64
        """
        if not self.neighbors:
            return torch.full_like(rows, -1)
        ordered, order = (part.numpy() for part in rows.sort())
        number = self.number[rows.numpy()][:, None]
        low, high = self.low[number], self.high[number]  # [B, 1]
        distance = np.arange(self.neighbors)
        candidate = np.where(self.earlier[number], high - 1 - distance, low + distance)  # [B, neighbors]
        real = (candidate >= low) & (candidate < high) & (drawn.numpy()[:, None] >= 0)
        at = np.where(real, candidate + self.shift[number], 0)
        candidate_row = self.row_of[self.opposite[at]]  # [B, neighbors]
        spot = np.searchsorted(ordered, candidate_row).clip(max=len(ordered) - 1)
        found = np.where(real & (ordered[spot] == candidate_row), order[spot], -1)
        first = (found >= 0).argmax(1)
        return torch.from_numpy(found[np.arange(len(rows)), first])
