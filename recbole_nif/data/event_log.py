"""The log of all events: flat arrays, one entry per event, windows by index arithmetic.

Nothing is stored per row and position, so memory grows with the number of events, not with events x
history length. The log is built once and shared by the training, validation and test views.

Guarantee: the window of a row holds only events of the same user that come before the row, under
``history_ties: strict`` strictly before its timestamp.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recbole_nif.data.fields import GAP_BUCKETS

NO_LABEL = -1  # label of an event that is not a sample (from a moveline file)
NO_ROW = -1


@dataclass(frozen=True)
class EventTable:
    """Unsorted columns of N events, as read; ``label`` and ``row_id`` are -1 for unlabelled events.

    user, item, scene, behavior, label, row_id: integer [N]; timestamp: integer or float seconds [N];
    rating: float [N]; item_rank: [number of items], the order of item tokens inside one timestamp; None
    where the events are in the log's order already.
    """

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    label: np.ndarray
    rating: np.ndarray
    scene: np.ndarray
    behavior: np.ndarray
    row_id: np.ndarray
    item_rank: np.ndarray | None

    def order(self) -> np.ndarray:
        """The permutation that sorts the events by (user, timestamp, item token, file order), [N]."""
        return np.lexsort((self.row_id, self.item_rank[self.item], self.timestamp, self.user))

    def take(self, order: np.ndarray) -> EventTable:
        """The events at places ``order`` [M]."""
        columns = (field.name for field in fields(self) if field.name != "item_rank")
        return replace(self, **{name: getattr(self, name)[order] for name in columns})


@dataclass(frozen=True)
class EventIndex:
    """A subset of the log's events, sorted; ``before[p]`` counts its members at positions < p."""

    positions: Tensor  # [M] int32
    before: Tensor  # [N + 1] int32

    @classmethod
    def of(cls, member: np.ndarray) -> EventIndex:
        """member: bool [N], which events belong to the index."""
        before = np.zeros(len(member) + 1, dtype=np.int32)
        np.cumsum(member, out=before[1:])
        return cls(_int32(np.flatnonzero(member)), torch.from_numpy(before))

    def range(self, begin: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """Members between log positions begin and end, as a half-open range of indices into ``positions``."""
        return self.before[begin.long()].long(), self.before[end.long()].long()


@dataclass(frozen=True)
class EventLog:
    """Events sorted by (user, timestamp, item token, file order). All tensors are [N] unless noted.

    Build with :meth:`build`. Rows are named by ``row_id``: the number of a sample before any ordering.
    Ids take as few bytes as the largest one needs: make them int64 before any arithmetic.
    """

    user: Tensor  # int16 or int32
    item: Tensor  # int16 or int32
    timestamp: Tensor  # int64 or float64, exact
    label: Tensor  # int8, NO_LABEL for events that are not samples
    rating: Tensor  # float32
    scene: Tensor  # int16 or int32, scene set
    behavior: Tensor  # int16
    gap: Tensor  # int8, bucket of the time since the user's previous event
    tie_begin: Tensor  # int32, first position of the event's group of simultaneous events
    offsets: Tensor  # [users + 1] int64, where each user's events begin
    position: Tensor  # [rows] int32, log position of each row
    clicks: EventIndex
    samples: EventIndex | None  # labelled events; None when all events are
    strict: bool  # history_ties: a row does not see its own timestamp
    frozen_end: Tensor | None = None  # [users] int64, history_until: train

    @classmethod
    def build(cls, events: EventTable, *, n_users: int, strict: bool) -> EventLog:
        """Sorts the events and derives every index; O(N log N), vectorised.

        Args:
            events: the columns, in any order.
            n_users: number of user ids including padding.
            strict: whether events that share a row's timestamp stay unseen by it.
        """
        return cls._of(events, events.order(), n_users, strict)

    @classmethod
    def of_sorted(cls, events: EventTable, *, n_users: int, strict: bool) -> EventLog:
        """As :meth:`build`, of events that are in the order of a log already; O(N)."""
        return cls._of(events, slice(None), n_users, strict)

    @classmethod
    def _of(cls, events: EventTable, order: np.ndarray | slice, n_users: int, strict: bool) -> EventLog:
        """Column after column, so that only one is in memory twice."""
        user, time = events.user[order], events.timestamp[order]
        n = len(user)
        first_of_user = np.ones(n, dtype=bool)
        first_of_user[1:] = user[1:] != user[:-1]
        first_of_tie = first_of_user.copy()
        first_of_tie[1:] |= time[1:] != time[:-1]
        tie_starts = np.flatnonzero(first_of_tie)
        elapsed = np.zeros(n)
        elapsed[1:] = time[1:] - time[:-1]
        gap = gap_bucket(torch.from_numpy(elapsed))
        gap[torch.from_numpy(first_of_user)] = GAP_BUCKETS - 1
        row_id = events.row_id[order]
        is_row = row_id != NO_ROW
        position = np.empty(int(is_row.sum()), dtype=np.int32)
        position[row_id[is_row]] = np.flatnonzero(is_row)
        label = events.label[order]
        return cls(
            user=_ids(user),
            item=_ids(events.item[order]),
            timestamp=torch.from_numpy(np.ascontiguousarray(time)),
            label=torch.from_numpy(label.astype(np.int8)),
            rating=torch.from_numpy(events.rating[order].astype(np.float32)),
            scene=_ids(events.scene[order]),
            behavior=torch.from_numpy(events.behavior[order].astype(np.int16)),
            gap=gap.to(torch.int8),
            tie_begin=_int32(tie_starts[np.cumsum(first_of_tie) - 1]),
            offsets=torch.from_numpy(np.searchsorted(user, np.arange(n_users + 1)).astype(np.int64)),
            position=torch.from_numpy(position),
            clicks=EventIndex.of(label == 1),
            samples=None if is_row.all() else EventIndex.of(is_row),
            strict=strict,
        )

    def __len__(self) -> int:
        return len(self.item)

    @cached_property
    def row_id(self) -> Tensor:
        """The row of each event, int32 [N], NO_ROW for events that are not samples; made when first asked."""
        row = torch.full((len(self),), NO_ROW, dtype=torch.int32)
        row[self.position.long()] = torch.arange(len(self.position), dtype=torch.int32)
        return row

    @cached_property
    def tie_end(self) -> Tensor:
        """One past the last of each event's simultaneous events, int32 [N]; made when first asked."""
        _, size = self.tie_begin.unique_consecutive(return_counts=True)
        return torch.repeat_interleave(size.cumsum(0).int(), size)

    def freeze_after(self, train_rows: Tensor) -> EventLog:
        """A log in which no row sees past its user's last training event (``history_until: train``).

        Args:
            train_rows: [R] row ids of a training split that is a prefix of each user's events.
        """
        position = self.position[train_rows].long()
        end = self.offsets[:-1].clone()
        end.scatter_reduce_(0, self.user[position].long(), position + 1, "amax")
        return replace(self, frozen_end=end)

    def with_events(self, **columns: Tensor) -> EventLog:
        """A log whose events, at the same times, have other items, labels, ratings, scenes or behaviors.

        columns: [N] in log order, of this log's types; samples stay samples.
        """
        log = replace(self, **columns)
        return replace(log, clicks=EventIndex.of((log.label == 1).numpy()))

    def visible(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The log positions [begin, end) that each row may see; both [B] int64."""
        position = self.position[rows].long()
        user = self.user[position].long()
        begin = self.offsets[user]
        end = self.tie_begin[position].long() if self.strict else position
        if self.frozen_end is not None:
            end = torch.minimum(end, self.frozen_end[user])
        return begin, end

    def window(self, rows: Tensor, length: int, kind: str = "moveline") -> tuple[Tensor, Tensor]:
        """The last ``length`` events that each row may see, oldest first, padded on the right.

        Args:
            rows: [B] int64 row ids.
            length: L.
            kind: ``clicks`` (label 1), ``samples`` (labelled events) or ``moveline`` (all events).

        Returns:
            positions [B, L] int64 into the log's arrays (0 where padded) and mask [B, L] bool.
        """
        begin, end = self.visible(rows)
        index = {"clicks": self.clicks, "samples": self.samples, "moveline": None}[kind]
        if index is not None:
            begin, end = index.range(begin, end)
        start = torch.maximum(begin, end - length)
        steps = torch.arange(length)
        mask = steps < (end - start)[:, None]  # [B, L]
        slots = (start[:, None] + steps) * mask
        if index is None:
            return slots, mask
        return gather_runs(index.positions, start, end - start, length), mask

    def row_time(self, rows: Tensor) -> Tensor:
        """When each row happened, [B] in the log's unit."""
        return self.timestamp[self.position[rows].long()]

    def row_gap(self, rows: Tensor) -> Tensor:
        """Bucket of the time between each row and the last event it may see, [B] int64."""
        begin, end = self.visible(rows)
        last = self.timestamp[(end - 1).clamp(min=0)]
        elapsed = self.row_time(rows) - last
        return gap_bucket(elapsed.double()).masked_fill_(end <= begin, GAP_BUCKETS - 1)

    def nbytes(self) -> int:
        """Bytes held by the log's arrays, those included that somebody has asked for."""
        parts = [self, *(index for index in (self.clicks, self.samples) if index is not None)]
        values = [value for part in parts for value in vars(part).values()]
        return sum(value.nbytes for value in values if isinstance(value, Tensor))


def gap_bucket(seconds: Tensor) -> Tensor:
    """Bucket of a non-negative time span: min(15, floor(log2(1 + seconds / 60))), int64 (reconstruction)."""
    return torch.log2(1 + seconds.clamp(min=0) / 60).floor().clamp(max=GAP_BUCKETS - 1).long()


def gather_runs(values: Tensor, start: Tensor, count: Tensor, length: int) -> Tensor:
    """Rows of consecutive entries: ``values[start_b : start_b + count_b]``, padded with 0 to ``length``.

    One row is one block copy out of an overlapping view, which is about twice as fast as gathering
    single entries.

    Args:
        values: [N] integers, contiguous; ``start + count <= N``.
        start, count: [B] int64, ``count <= length``.

    Returns:
        [B, length] int64.
    """
    if len(values) < length:
        values = torch.cat([values, values.new_zeros(length)])
    last = len(values) - length
    runs = values.as_strided((last + 1, length), (1, 1))
    head = start.clamp(max=last)
    rows = runs.index_select(0, head)  # [B, length]
    shift = start - head  # > 0 only for the last entries of the log
    steps = torch.arange(length)
    if bool(shift.any()):
        rows = rows.gather(1, (steps + shift[:, None]).clamp(max=length - 1))
    return rows.mul_(steps < count[:, None]).long()


def _ids(values: np.ndarray) -> Tensor:
    """Ids in as few bytes as they need; an index of less than four is refused by torch, so none wraps."""
    small = values.max(initial=0) <= np.iinfo(np.int16).max
    return torch.from_numpy(values.astype(np.int16 if small else np.int32))


def _int32(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.int32))
