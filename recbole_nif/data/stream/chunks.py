"""Chunks: a few shards in memory as one event log, read one after the other, ahead in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from recbole_nif.data.event_log import NO_ROW, EventLog, EventTable
from recbole_nif.data.stream.shards import CONTEXT, read_shard


@dataclass(frozen=True)
class Chunk:
    """Events of whole users and the samples among them, which have row ids of the chunk, 0..R-1.

    Users of the log are numbered within the chunk, so that a log's memory does not grow with all users.
    """

    log: EventLog
    user: Tensor  # [R] int64, user id
    split: Tensor  # [R] int8, number of the split
    source_row: Tensor  # [R] int64, row id in the dataset that the shards were made of
    context: dict[str, Tensor]  # further features of the samples, [R] or [R, S]


def read_chunk(folder: Path, files: Sequence[str], strict: bool) -> Chunk:
    """The chunk of some shards of ``folder``; strict: ``history_ties: strict``."""
    parts = [read_shard(Path(folder) / file) for file in files]
    columns = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
    user, split = columns["user"], columns["split"]
    first_of_user = np.ones(len(user), dtype=bool)
    first_of_user[1:] = user[1:] != user[:-1]
    local = np.cumsum(first_of_user) - 1
    is_row = split >= 0
    events = EventTable(
        user=local,
        item=columns["item"],
        timestamp=columns["timestamp"],
        label=columns["label"],
        rating=columns["rating"],
        scene=columns["scene"],
        behavior=columns["behavior"],
        row_id=np.where(is_row, np.cumsum(is_row) - 1, NO_ROW),
        item_rank=None,
    )
    return Chunk(
        log=EventLog.of_sorted(events, n_users=int(first_of_user.sum()), strict=strict),
        user=torch.from_numpy(user[is_row].astype(np.int64)),
        split=torch.from_numpy(split[is_row]),
        source_row=torch.from_numpy(columns["row_id"][is_row]),
        context={
            name.removeprefix(CONTEXT): torch.from_numpy(values[is_row])
            for name, values in columns.items()
            if name.startswith(CONTEXT)
        },
    )


class ChunkStream(IterableDataset):
    """The chunks of a plan, each exactly once; worker w of W reads chunks w, w + W, …

    ``DataLoader`` asks its workers in turn, so chunks come in the plan's order whatever their number.

    Args:
        folder: of the shards.
        plan: files of every chunk.
        strict: ``history_ties: strict``.
    """

    def __init__(self, folder: Path, plan: Sequence[Sequence[str]], strict: bool):
        self.folder, self.plan, self.strict = folder, plan, strict

    def __iter__(self) -> Iterator[Chunk]:
        worker = get_worker_info()
        mine = self.plan if worker is None else self.plan[worker.id :: worker.num_workers]
        return (read_chunk(self.folder, files, self.strict) for files in mine)


def chunks_of(stream: ChunkStream, workers: int) -> Iterator[Chunk]:
    """Reads ``stream`` in ``workers`` processes, each one chunk ahead; in this process with 0.

    Draws nothing from torch's global random numbers: a run that goes on inside a chunk needs the same ones.
    """
    loader = DataLoader(
        stream,
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        generator=torch.Generator(),
    )
    return iter(loader)


def _unchanged(chunk: Chunk) -> Chunk:
    return chunk
