"""Rows that read the same window, side by side, so that its keys and values are not copied for each."""

from typing import NamedTuple

import torch
from torch import Tensor

ROWS_PER_GROUP = 8


class RowGroups(NamedTuple):
    """N rows packed into G groups of at most R = ``ROWS_PER_GROUP`` that share a window.

    G is a bound known from the shapes, so that nothing waits for the device; groups and places that no
    row takes hold zeros.
    """

    window: Tensor  # [G] int64, the window of each group
    place: Tensor  # [N] int64, where each row lies among the G * R places

    @classmethod
    def of(cls, window: Tensor, n_windows: int) -> "RowGroups":
        """window: [N] int64, the window of each row, in any order."""
        ordered, order = window.sort(stable=True)
        count = torch.zeros(n_windows, dtype=torch.long, device=window.device)
        count = count.index_add(0, window, torch.ones_like(window))
        rank = torch.arange(len(window), device=window.device) - (count.cumsum(0) - count)[ordered]
        groups = (count + ROWS_PER_GROUP - 1) // ROWS_PER_GROUP
        group = (groups.cumsum(0) - groups)[ordered] + rank // ROWS_PER_GROUP
        n_groups = (
            len(window) // ROWS_PER_GROUP + n_windows
        )  # each window leaves at most one group part empty
        return cls(
            window=torch.zeros(n_groups, dtype=torch.long, device=window.device).index_copy(
                0, group, ordered
            ),
            place=torch.empty_like(order).index_copy(
                0, order, group * ROWS_PER_GROUP + rank % ROWS_PER_GROUP
            ),
        )

    def spread(self, rows: Tensor) -> Tensor:
        """[N, ...] -> [G, R, ...]"""
        places = rows.new_zeros(len(self.window) * ROWS_PER_GROUP, *rows.shape[1:])
        return places.index_copy(0, self.place, rows).unflatten(0, (-1, ROWS_PER_GROUP))

    def collect(self, places: Tensor) -> Tensor:
        """[G, R, ...] -> [N, ...]"""
        return places.flatten(0, 1).index_select(0, self.place)
