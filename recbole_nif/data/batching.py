"""How an epoch is cut into batches and shared among processes, whatever its samples are."""

from __future__ import annotations

import numpy as np


def share_of(order: np.ndarray, size: int, rank: int, world_size: int) -> np.ndarray:
    """What one of several processes reads of an epoch, ``size`` rows in a step; as much as each other one.

    A step takes the next ``world_size * size`` rows of ``order``, and a process a part of them in which
    neighbors stay together, since they share windows: how far an epoch is does not depend on the number of
    processes. Fewer than ``world_size`` rows at its end are left out.
    """
    whole, each = share_sizes(len(order), size, world_size)
    last = order[whole + rank * each : whole + (rank + 1) * each]
    return np.concatenate([order[:whole].reshape(-1, world_size, size)[:, rank].reshape(-1), last])


def share_sizes(n_rows: int, size: int, world_size: int) -> tuple[int, int]:
    """Of an epoch: the rows of all whole steps together, and what each process reads in the last one."""
    whole = n_rows // (size * world_size) * size * world_size
    return whole, (n_rows - whole) // world_size


def cut_batches(n_rows: int, size: int, phase: str) -> list[slice]:
    """Where each batch begins and ends. No training batch has one row, which batch norm cannot bear."""
    if not n_rows:
        return []
    ends = list(range(size, n_rows, size)) + [n_rows]
    if phase == "train" and len(ends) > 1 and n_rows - ends[-2] == 1:
        del ends[-2]
    return [slice(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
