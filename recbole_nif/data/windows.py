"""Stage 1's training data: windows of the moveline with all their cuts and next clicks (reconstruction).

A cut after m events of a user predicts the user's next K clicked rows. One causal pass over a window
serves every cut in it; windows start on the same grid as those of stage 2 (``data/history.py``), so a
cut sees exactly what a row at that place would see.
"""

from __future__ import annotations

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_nif.data import fields
from recbole_nif.data.batching import share_of, share_sizes
from recbole_nif.data.event_log import NO_LABEL, EventIndex
from recbole_nif.data.history import read_windows
from recbole_nif.errors import UserError


class MovelineWindows:
    """Batches of windows; an epoch is every eligible cut once, in an order given by (seed, epoch).

    Of several processes each has its share, all equally many: at most ``world_size - 1`` windows at the end
    of an epoch are left out.

    A cut is eligible if it has a past event, a future clicked row of the training split and, with
    ``cuts: boundaries``, does not divide a group of simultaneous events (a row never sees such a cut
    under ``history_ties: strict``).

    Args:
        dataset: a built :class:`CTRDataset` view; targets come from its training split only.
        length, stride: n and the grid; a cut after m events is served by the window that holds the
            last n - stride + 1 to n of them.
        flow_len: K.
        batch_size: windows per batch of this process.
        cuts: ``boundaries`` or ``all``.
        hard_negatives: H, the user's own next unclicked training rows after the cut.
        exposures: M, the user's next training rows after the cut, clicked or not.
        user_mask: bool [users], whose windows to take; None for all.
        seed: of the order.
        shuffle: a new order in each epoch; False for that of the log.
        rank, world_size: this process and how many there are.
    """

    def __init__(
        self,
        dataset,
        *,
        length: int,
        stride: int,
        flow_len: int,
        batch_size: int,
        cuts: str = "boundaries",
        hard_negatives: int = 0,
        exposures: int = 0,
        user_mask: Tensor | None = None,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ):
        if not 0 < stride <= length:
            raise UserError(
                f"moveline_stride is {stride}: it must be between 1 and moveline_length ({length})."
            )
        if cuts not in ("boundaries", "all"):
            raise UserError(f"pretrain_cuts is {cuts!r}: use boundaries or all.")
        self.log = log = dataset.event_log
        self.length, self.stride, self.flow_len = length, stride, flow_len
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.hard_negatives, self.exposures = hard_negatives, exposures
        self.epoch, self.first_batch = 0, 0
        in_training = np.zeros(len(log), dtype=bool)
        in_training[log.position[dataset.train_rows].numpy()] = True
        label = log.label.numpy()
        self.clicks = EventIndex.of(in_training & (label == 1))
        self.rows = EventIndex.of(in_training & (label != NO_LABEL))
        self.unclicked = EventIndex.of(in_training & (label != 1) & (label != NO_LABEL))
        self.end = self._last_end(self.clicks)  # no cut lies at or after a user's last click
        self.rows_end = self._last_end(self.rows)
        boundary = (
            log.tie_begin.numpy() == np.arange(len(log)) if cuts == "boundaries" else np.ones(len(log), bool)
        )
        self.boundary = torch.from_numpy(np.append(boundary, False))
        self.user, self.start = self._lay_windows(user_mask)
        eligible = torch.cat(
            [self._cut_mask(part).sum(1) for part in self._parts(torch.arange(len(self.start)))]
        )
        kept = eligible > 0
        self.user, self.start, self.n_cuts = self.user[kept], self.start[kept], int(eligible.sum())

    def _parts(self, windows: Tensor) -> tuple[Tensor, ...]:
        return windows.split(1 << 16)

    def _last_end(self, index: EventIndex) -> Tensor:
        """One past each user's last event in ``index``, [users]."""
        positions = index.positions.long()
        end = self.log.offsets[:-1].clone()
        return end.scatter_reduce_(0, self.log.user[positions].long(), positions + 1, "amax")

    def _lay_windows(self, user_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """User and log position of every window of the grid."""
        begin = self.log.offsets[:-1]
        longest = (self.end - begin - 1).clamp(min=0)  # events before the last cut
        count = 1 + -(-(longest - self.length).clamp(min=0) // self.stride)
        count[longest < 1] = 0
        if user_mask is not None:
            count[~user_mask] = 0
        user = torch.repeat_interleave(torch.arange(len(begin)), count)
        number = torch.arange(len(user)) - (count.cumsum(0) - count)[user]
        return user, begin[user] + number * self.stride

    def _cut_positions(self, windows: Tensor) -> Tensor:
        """Log position that follows each event of the windows, [U, n]."""
        return self.start[windows, None] + 1 + torch.arange(self.length)

    def _cut_mask(self, windows: Tensor) -> Tensor:
        cut = self._cut_positions(windows)  # [U, n]
        first = self.start[windows] == self.log.offsets[self.user[windows]]
        own = first[:, None] | (torch.arange(self.length) >= self.length - self.stride)
        return own & (cut < self.end[self.user[windows], None]) & self.boundary[cut.clamp(max=len(self.log))]

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Chooses the order of the next iteration, which begins at batch ``first_batch``."""
        self.epoch, self.first_batch = epoch, first_batch

    def __len__(self) -> int:
        whole, each = share_sizes(len(self.start), self.batch_size, self.world_size)
        return -(-(whole // self.world_size + each) // self.batch_size)

    def __iter__(self):
        order = np.arange(len(self.start))
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 2]).permutation(order)
        mine = torch.from_numpy(share_of(order, self.batch_size, self.rank, self.world_size))
        return (self.read(windows) for windows in mine.split(self.batch_size)[self.first_batch : len(self)])

    def read(self, windows: Tensor) -> Interaction:
        """The batch of windows by number, [U]; fields as in ``data/fields.py``."""
        start, end = self.start[windows], self.end[self.user[windows]]
        batch = read_windows(self.log, start, torch.minimum(start + self.length, end), self.length)
        cut = self._cut_positions(windows)
        mask = self._cut_mask(windows)
        batch[fields.CUT_MASK] = mask
        batch[fields.CUT_GAP] = self.log.gap[cut.clamp(max=len(self.log) - 1)].long()
        target, target_mask = self._next(self.clicks, cut, end, mask, self.flow_len)
        batch[fields.TARGET_ITEM] = self.log.item[target].long() * target_mask
        batch[fields.TARGET_SCENE] = self.log.scene[target].long() * target_mask
        batch[fields.TARGET_MASK] = target_mask
        if self.hard_negatives:
            negative, negative_mask = self._next(self.unclicked, cut, end, mask, self.hard_negatives)
            batch[fields.NEGATIVE_ITEM] = self.log.item[negative].long() * negative_mask
            batch[fields.NEGATIVE_SCENE] = self.log.scene[negative].long() * negative_mask
            batch[fields.NEGATIVE_MASK] = negative_mask
        if self.exposures:
            rows_end = self.rows_end[self.user[windows]]
            exposed, exposed_mask = self._next(self.rows, cut, rows_end, mask, self.exposures)
            batch[fields.EXPOSED_ITEM] = self.log.item[exposed].long() * exposed_mask
            batch[fields.EXPOSED_SCENE] = self.log.scene[exposed].long() * exposed_mask
            batch[fields.EXPOSED_LABEL] = (self.log.label[exposed] == 1).float() * exposed_mask
            batch[fields.EXPOSED_MASK] = exposed_mask
        return Interaction(batch)

    @staticmethod
    def _next(index: EventIndex, cut: Tensor, end: Tensor, mask: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """The next ``count`` members of ``index`` at or after each cut: positions and mask, [U, n, count]."""
        if len(index.positions) == 0:
            empty = torch.zeros(*cut.shape, count, dtype=torch.long)
            return empty, empty.bool()
        cut = torch.minimum(cut, end[:, None])
        first, last = index.range(cut, end[:, None].expand_as(cut))
        slot = first[..., None] + torch.arange(count)
        valid = (slot < last[..., None]) & mask[..., None]
        return index.positions[slot.clamp(max=len(index.positions) - 1)].long(), valid
