"""Batches of rows: order, grouping by moveline window, pairs, and tables attached by row."""

from __future__ import annotations

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from recbole_nif.config_choices import choice
from recbole_nif.data import fields
from recbole_nif.data.batching import cut_batches, share_of, share_sizes
from recbole_nif.data.pairs import PairSampler
from recbole_nif.data.windows import MovelineWindows


class CTRDataLoader:
    """Iterates one view of a :class:`CTRDataset` in batches.

    The order of rows and the pairs of an epoch are a function of (seed, epoch): not of the number of
    workers, nor of what ran before.

    Args:
        config: RecBole config (``train_batch_size``, ``eval_batch_size``, ``worker``, ``seed``,
            ``rows_per_window``, ``tsp_*``).
        dataset: a built view.
        phase: ``train``, ``valid`` or ``test``; pairs are added in training only.
        shuffle: a new order in each epoch.
        distributed: with several processes, whether each reads its own share of the rows.
    """

    def __init__(
        self, config, dataset, phase: str = "train", shuffle: bool = False, distributed: bool = True
    ):
        self.config, self._dataset, self.phase, self.shuffle = config, dataset, phase, shuffle
        self.epoch, self.first_batch = 0, 0
        self.rank, self.world_size = 0, 1
        if distributed and torch.distributed.is_available() and torch.distributed.is_initialized():
            self.rank, self.world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        training = phase == "train"
        batch_size = config["train_batch_size" if training else "eval_batch_size"]
        self.batch_size = max(1, batch_size // self.world_size)
        self.rows = dataset.inter_feat[fields.ROW_ID]
        self._tables: dict[str, Tensor | np.ndarray] = {}
        self._sampler = self._pair_sampler() if training and dataset.needs.pairs else None
        shares = dataset.needs.moveline or dataset.needs.history_windows
        self._groups = self._window_groups() if training and shuffle and shares else None

    @property
    def dataset(self):
        """The view that the rows come from."""
        return self._dataset

    @property
    def sample_size(self) -> int:
        """Rows that this process sees in an epoch, partners not counted."""
        if self.phase != "train":
            return len(torch.tensor_split(self.rows, self.world_size)[self.rank])
        whole, each = share_sizes(len(self.rows), self.batch_size, self.world_size)
        return whole // self.world_size + each

    def __bool__(self) -> bool:
        """Whether any process has a row: all of them evaluate together."""
        return len(self.rows) > 0

    def __len__(self) -> int:
        return len(cut_batches(self.sample_size, self.batch_size, self.phase))

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Chooses the order and the pairs of the next iteration, which begins at batch ``first_batch``."""
        self.epoch, self.first_batch = epoch, first_batch

    def attach(self, name: str, table: Tensor | np.ndarray) -> None:
        """Adds ``table[row_id]`` to every batch as field ``name``; table: [rows of the dataset, ...]."""
        self._tables[name] = table

    def windows(self, **options) -> MovelineWindows:
        """Stage 1's batches over the moveline of the training split; see :class:`MovelineWindows`."""
        share = {"rank": self.rank, "world_size": self.world_size}
        order = {"seed": self.config["seed"], "shuffle": shuffles(self.config, "train")}
        return MovelineWindows(self._dataset, **order, **share, **options)

    def __iter__(self):
        workers = self.config["worker"] or 0
        loader = DataLoader(
            self.batches(), batch_size=None, shuffle=False, num_workers=workers, collate_fn=_unchanged
        )
        return iter(loader)

    def batches(self) -> EpochBatches:
        """The batches of the next iteration by number, for whoever reads them in this process."""
        drawn = None if self._sampler is None else self._sampler.draw(self.epoch)
        return EpochBatches(self, self._order(), drawn)

    def _order(self) -> Tensor:
        if self.phase != "train":
            return torch.tensor_split(self.rows, self.world_size)[self.rank]
        rng = np.random.default_rng([self.config["seed"], self.epoch])
        if not self.shuffle:
            order = np.arange(len(self.rows))
        elif self._groups is None:
            order = rng.permutation(len(self.rows))
        else:
            order = _shuffle_in_groups(self._groups, self.config["rows_per_window"] or 1, rng)
        return self.rows[torch.from_numpy(share_of(order, self.batch_size, self.rank, self.world_size))]

    def _window_groups(self) -> np.ndarray | None:
        """The window of each row, [R], for batches in which rows share windows."""
        if (self.config["rows_per_window"] or 1) <= 1:
            return None
        return self._dataset.history.row_groups(self.rows).numpy()

    def _pair_sampler(self) -> PairSampler:
        config = self.config
        return PairSampler(
            self._dataset.event_log,
            self._dataset.train_rows,
            mode=choice(config, "tsp_mode"),
            partner=choice(config, "tsp_partner"),
            neighbors=config["tsp_neighbors"] or 5,
            window=config["tsp_window"],
            ratio=0.5 if config["tsp_ratio"] is None else config["tsp_ratio"],
            seed=config["seed"],
        )

    def _read(self, rows: Tensor, drawn: Tensor | None) -> Interaction:
        """The batch of ``rows`` [B], with the partners behind them that it does not hold anyway.

        drawn: the partner of every row in the epoch, -1 for none.
        """
        pairs = {}
        if drawn is not None:
            partner = drawn[rows]
            place = self._sampler.in_batch(rows, partner)
            sample = torch.nonzero((partner >= 0) & (place < 0)).squeeze(1)
            pairs = {
                fields.PAIR_OF: torch.cat([place, sample]),
                fields.ADDED: torch.arange(len(rows) + len(sample)) >= len(rows),
            }
            rows = torch.cat([rows, partner[sample]])
        batch = self._dataset.read(rows)
        for name, values in pairs.items():
            batch[name] = values
        for name, table in self._tables.items():
            values = table[rows] if isinstance(table, Tensor) else torch.from_numpy(table[rows.numpy()])
            batch[name] = values
        return batch


class EpochBatches(TorchDataset):
    """Random access to an epoch's batches, so that worker processes can share them out."""

    def __init__(self, loader: CTRDataLoader, order: Tensor, drawn: Tensor | None):
        self.loader, self.order, self.drawn = loader, order, drawn
        self.slices = cut_batches(len(order), loader.batch_size, loader.phase)[loader.first_batch :]

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, number: int) -> Interaction:
        return self.loader._read(self.order[self.slices[number]], self.drawn)


def shuffles(config, phase: str) -> bool:
    """Whether batches of a phase come in a new order in each epoch (RecBole's key ``shuffle``)."""
    return phase == "train" and config["shuffle"] is not False


def _shuffle_in_groups(window: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation that keeps up to ``size`` random rows of one window together.

    Rows of a window are shuffled, dealt into groups of ``size``, and the groups are shuffled.
    """
    order = np.lexsort((rng.random(len(window)), window))
    first = np.ones(len(order), dtype=bool)
    first[1:] = window[order][1:] != window[order][:-1]
    starts = np.flatnonzero(first)
    rank = np.arange(len(order)) - starts[np.cumsum(first) - 1]
    group = np.cumsum(first | (rank % size == 0)) - 1
    place = rng.permutation(group[-1] + 1) if len(group) else group
    return order[np.argsort(place[group], kind="stable")]


def _unchanged(batch: Interaction) -> Interaction:
    return batch
