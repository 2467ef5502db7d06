"""Batches of a streamed log: chunk after chunk, each read as a dataset in memory is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_nif.data.batching import cut_batches
from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.fields import ROW_ID
from recbole_nif.data.stream.chunks import ChunkStream, chunks_of
from recbole_nif.data.stream.dataset import StreamedChunk, StreamedLog
from recbole_nif.data.stream.shards import SPLITS
from recbole_nif.data.windows import MovelineWindows
from recbole_nif.errors import UserError

Plan = list[list[int]]  # numbers of the shards of every chunk
Count = Callable[[list[int]], int]  # shards of a chunk -> how many batches it has
Read = Callable[[StreamedChunk, int], Iterator[Interaction]]


class StreamLoader:
    """Iterates one split of a :class:`StreamedLog`, as :class:`CTRDataLoader` does in memory.

    In training the shards of an epoch come in an order given by (seed, epoch), are dealt to the processes,
    and ``stream_buffer`` of them at a time become a chunk whose rows are shuffled. The batches do not
    depend on ``worker``, the number of processes that read ahead. Every row comes once in an epoch, but for
    one that is alone in its chunk, which batch norm cannot bear; with several processes those with more
    batches end with the one that has least.

    Args:
        config: also ``train_batch_size``, ``eval_batch_size``, ``stream_eval_shards``.
        dataset: the split.
        phase: ``train``, ``valid`` or ``test``.
        shuffle: a new order in each epoch.
    """

    def __init__(self, config, dataset: StreamedLog, phase: str = "train", shuffle: bool = False):
        self.config, self._log, self.phase, self.shuffle = config, dataset, phase, shuffle
        self.epoch, self.first_batch = 0, 0
        self.rank, self.world_size = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self.rank, self.world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        batch_size = config["train_batch_size" if phase == "train" else "eval_batch_size"]
        self.batch_size = max(1, batch_size // self.world_size)
        self.buffer, self.workers = config["stream_buffer"] or 1, config["worker"] or 0
        self.shards = dataset.manifest.shards
        if phase == "valid" and config["stream_eval_shards"]:
            self.shards = self.shards[: config["stream_eval_shards"]]
        if len(self.shards) < self.world_size:
            raise UserError(
                f"{dataset.folder} has {len(self.shards)} shards for the {phase} phase of {self.world_size} "
                "processes: write more of them, or start fewer processes."
            )
        self._rows = [shard.rows[SPLITS.index(dataset.split)] for shard in self.shards]

    @property
    def dataset(self) -> StreamedChunk:
        """The split's rows in the first chunk: a sample for whoever needs some rows."""
        return self._log.view(self._log.sample)

    @property
    def sample_size(self) -> int:
        """Rows that this process sees in an epoch, about, partners not counted."""
        return sum(self._rows) // self.world_size

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Chooses the order of the next iteration, which begins at batch ``first_batch``."""
        self.epoch, self.first_batch = epoch, first_batch

    def windows(self, **options) -> StreamWindows:
        """Stage 1's batches over the moveline of the training split; options as of ``MovelineWindows``."""
        return StreamWindows(self, **options)

    def __bool__(self) -> bool:
        """Whether any process has a row: all of them evaluate together."""
        return sum(self._rows) > 0

    def __len__(self) -> int:
        return self.steps(self._batches_of)

    def __iter__(self) -> Iterator[Interaction]:
        return self.iterate(self._batches_of, self._read)

    def _batches_of(self, shards: list[int]) -> int:
        """How many batches a chunk of ``shards`` has, known before it is read."""
        rows = sum(self._rows[number] for number in shards)
        alone = rows == 1 and self.phase == "train"
        return 0 if alone else len(cut_batches(rows, self.batch_size, self.phase))

    def _read(self, view: StreamedChunk, first_batch: int) -> Iterator[Interaction]:
        loader = CTRDataLoader(self.config, view, self.phase, self.shuffle, distributed=False)
        loader.batch_size = self.batch_size
        loader.set_epoch(self.epoch, first_batch)
        for batch in loader.batches():
            batch[ROW_ID] = view.chunk.source_row[batch[ROW_ID]]  # one name in all chunks
            yield batch

    # -- chunks, whatever batches are made of them

    def plan(self, rank: int) -> Plan:
        """The chunks that process ``rank`` reads in this epoch."""
        order = np.arange(len(self.shards))
        if self.shuffle:
            order = np.random.default_rng([self.config["seed"], self.epoch, 5]).permutation(order)
        mine = order[rank :: self.world_size].tolist()
        return [mine[begin : begin + self.buffer] for begin in range(0, len(mine), self.buffer)]

    def steps(self, count: Count) -> int:
        """Batches of this process in this epoch; in training as many as of every other one."""
        ranks = range(self.world_size) if self.phase == "train" else [self.rank]
        return min(sum(map(count, self.plan(rank))) for rank in ranks)

    def iterate(self, count: Count, read: Read) -> Iterator[Interaction]:
        """What is left of the epoch; chunks before ``first_batch`` are not read at all.

        read: view of a chunk, number of its first batch -> its batches.
        """
        left, skipped = self.steps(count) - self.first_batch, self.first_batch
        plan = [chunk for chunk in self.plan(self.rank) if count(chunk)]
        while plan and skipped >= count(plan[0]):
            skipped -= count(plan.pop(0))
        return islice(self._batches(plan, skipped, read), left)

    def _batches(self, plan: Plan, skipped: int, read: Read) -> Iterator[Interaction]:
        for view in self.views(plan):
            yield from read(view, skipped)
            del view  # before the next one is read: two would take twice the memory
            skipped = 0

    def views(self, plan: Plan) -> Iterator[StreamedChunk]:
        """The chunks of ``plan`` as views, one after the other."""
        files = [[self.shards[number].file for number in shards] for shards in plan]
        stream = ChunkStream(self._log.folder, files, self._log.strict)
        return map(self._log.view, chunks_of(stream, self.workers))


class StreamWindows:
    """Stage 1's windows of a streamed log, as :class:`MovelineWindows` of one in memory.

    How many windows and cuts a shard has is counted in one pass over all shards, shared by the processes.

    Attributes:
        n_cuts: in all shards.
    """

    def __init__(self, loader: StreamLoader, *, user_mask=None, batch_size: int, **options):
        if user_mask is not None:
            raise UserError("Training on some users only is not possible with stream_shards.")
        self.loader, self.batch_size, self.options = loader, batch_size, options
        counts = torch.zeros(len(loader.shards), 2, dtype=torch.long)
        mine = list(range(len(loader.shards)))[loader.rank :: loader.world_size]
        for number, view in zip(mine, loader.views([[number] for number in mine]), strict=True):
            windows = self._windows(view)
            counts[number] = torch.tensor([len(windows.start), windows.n_cuts])
        if loader.world_size > 1:
            counts = counts.to(loader.config["device"])
            torch.distributed.all_reduce(counts)
        self._counts, self.n_cuts = counts[:, 0].tolist(), int(counts[:, 1].sum())

    def _windows(self, view: StreamedChunk) -> MovelineWindows:
        order = {"seed": self.loader.config["seed"], "shuffle": self.loader.shuffle}
        return MovelineWindows(view, batch_size=self.batch_size, **order, **self.options)

    def _batches_of(self, shards: list[int]) -> int:
        return -(-sum(self._counts[number] for number in shards) // self.batch_size)

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """As of ``MovelineWindows``."""
        self.loader.set_epoch(epoch, first_batch)

    def __len__(self) -> int:
        return self.loader.steps(self._batches_of)

    def __iter__(self) -> Iterator[Interaction]:
        return self.loader.iterate(self._batches_of, self._read)

    def _read(self, view: StreamedChunk, first_batch: int) -> Iterator[Interaction]:
        windows = self._windows(view)
        windows.set_epoch(self.loader.epoch, first_batch)
        return iter(windows)
