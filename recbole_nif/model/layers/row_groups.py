"""Rows that read the same window, side by side, so that its keys and values are not copied for each."""

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_nif.tracing import exporting, may_wait

ROWS_PER_GROUP = 8


class RowGroups(NamedTuple):
    """N rows packed into G groups of at most R rows that share a window.

    On a CPU only groups with rows; elsewhere G is a bound known from the shapes, so that nothing waits for
    the device. Groups and places that no row takes hold zeros.
    """

    window: Tensor  # [G] int64, the window of each group
    place: Tensor  # [N] int64, where each row lies among the G * R places
    size: int  # R

    @classmethod
    def of(cls, window: Tensor, n_windows: int, size: int = ROWS_PER_GROUP) -> "RowGroups":
        """window: [N] int64, the window of each row, in any order; size: R, 1 puts every row by itself."""
        if size == 1:
            return cls(window, torch.arange(window.shape[0], device=window.device), 1)
        ordered, order = window.sort(stable=True) if not exporting() else window.sort()  # ONNX has the latter
        count = torch.zeros(n_windows, dtype=torch.long, device=window.device)
        count = count.index_add(0, window, torch.ones_like(window))
        rank = torch.arange(window.shape[0], device=window.device) - (count.cumsum(0) - count)[ordered]
        groups = (count + size - 1) // size
        group = (groups.cumsum(0) - groups)[ordered] + rank // size
        # each window leaves at most one group part empty
        n_groups = int(groups.sum()) if may_wait(window) else window.shape[0] // size + n_windows
        return cls(
            window=torch.zeros(n_groups, dtype=torch.long, device=window.device).index_copy(
                0, group, ordered
            ),
            place=torch.zeros_like(order).index_copy(0, order, group * size + rank % size),
            size=size,
        )

    def spread(self, rows: Tensor) -> Tensor:
        """[N, ...] -> [G, R, ...]"""
        places = rows.new_zeros(self.window.shape[0] * self.size, *rows.shape[1:])
        return places.index_copy(0, self.place, rows).unflatten(0, (-1, self.size))

    def collect(self, places: Tensor) -> Tensor:
        """[G, R, ...] -> [N, ...]"""
        return places.flatten(0, 1).index_select(0, self.place)
