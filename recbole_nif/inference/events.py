"""Events that come after training: from a user's table to columns of the log, by the rules of the data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from recbole_nif.data.event_log import NO_LABEL
from recbole_nif.data.log_builder import UNCLICKED, MovelineNames
from recbole_nif.errors import UserError
from recbole_nif.inference.columns import PADDING, Columns, as_numbers
from recbole_nif.inference.frames import as_frame, require, times_of
from recbole_nif.inference.row_error import RowError
from recbole_nif.inference.scene_rule import SceneRule

NO_ITEM = "[PAD]"  # RecBole's token of padding


@dataclass(frozen=True)
class Events:
    """Events of one or more users, in the order of the log: columns [N] as in ``EventTable``."""

    item: np.ndarray
    timestamp: np.ndarray
    label: np.ndarray  # NO_LABEL: no sample, in no click history
    rating: np.ndarray
    scene: np.ndarray
    behavior: np.ndarray

    def __len__(self) -> int:
        return len(self.item)

    def take(self, places) -> Events:
        """The events at ``places``: an index array, a mask or a slice."""
        return Events(*(getattr(self, field.name)[places] for field in fields(self)))

    def digest(self) -> bytes:
        """What tells these events from others."""
        made = hashlib.blake2b(digest_size=16)
        for field in fields(self):
            values = getattr(self, field.name)
            made.update(str((values.dtype, len(values))).encode() + values.tobytes())
        return made.digest()


def joined(parts: Sequence[Events]) -> Events:
    """One after the other."""
    if not parts:
        return Events(*(np.zeros(0, dtype=np.int64) for _ in fields(Events)))
    return Events(
        *(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Events))
    )


@dataclass(frozen=True)
class EventRule:
    """What a row of events says.

    Attributes:
        item, time, label, rating: names of the columns; time None: the data have no times.
        threshold: (column, value): a click is a value of at least that; None: ``label`` tells.
        intervals: column -> the values whose rows the data keep, as in ``val_interval``.
        behavior: column of the event's kind, crossed with the label; None: the label alone.
        scenes: from an event's item or columns to its scene set.
        last_item: items behind it are in no click history either; None: there are none.
        moveline: names of events that are no samples; None: the data have no moveline_files.
    """

    item: str
    time: str | None
    label: str
    rating: str | None
    threshold: tuple[str, float] | None
    intervals: dict
    behavior: str | None
    scenes: SceneRule
    last_item: int | None = None
    moveline: MovelineNames | None = None

    @classmethod
    def of(
        cls, config, scenes: SceneRule, *, timed: bool, moveline: MovelineNames | None = None
    ) -> EventRule:
        """The rule of a run's configuration; ``timed``: whether the data have times."""
        return cls(
            item=config["ITEM_ID_FIELD"],
            time=config["TIME_FIELD"] if timed else None,
            label=config["LABEL_FIELD"],
            rating=config["RATING_FIELD"],
            threshold=next(iter((config["threshold"] or {}).items()), None),
            intervals=dict(config["val_interval"] or {}),
            behavior=config["behavior_field"],
            scenes=scenes,
            moveline=moveline,
        )

    def read(self, table, columns: Columns, user: int, item_rank: np.ndarray) -> Events:
        """A user's events by time; rows that the data would not have kept are left out.

        An event of an unknown item stays in the moveline, with its scene, and is in no click history. Where
        the data have ``moveline_files``, a row with a ``behavior`` and without an answer is such an event:
        its ``scene`` and ``behavior`` are read by those files' names, its item may be missing.

        Args:
            table: see ``as_frame``.
            columns: of the dataset.
            user: the user's id, for scenes that users have.
            item_rank: [items], the order of items inside one time.

        Raises:
            UserError: a missing column, a time or rating that is no number, a label that is not 0 or 1.
        """
        frame = as_frame(table)
        if not len(frame):
            return joined([])
        frame, unasked = self._answered(frame)
        require(frame, [self.item])
        time = times_of(frame, self.time) if self.time else np.zeros(len(frame), dtype=np.int64)
        label, kept = self._labels(frame), self._kept(frame) | unasked
        item = columns.ids(self.item, frame[self.item])
        scene = self.scenes(item, frame, columns, user)
        unread = item == PADDING
        if self.last_item is not None:
            unread |= item > self.last_item
        behavior = UNCLICKED + label.astype(np.int64)
        if self.behavior is not None and self.behavior in frame:
            behavior = behavior + 2 * columns.ids(self.behavior, frame[self.behavior])
        if unasked.any():
            scene[unasked] = _known(frame["scene"][unasked], self.moveline.scenes)
            behavior[unasked] = _known(frame["behavior"][unasked], self.moveline.behaviors)
        rating = np.zeros(len(frame))
        if self.rating is not None and self.rating in frame:
            rating = as_numbers(frame[self.rating], self.rating)
        events = Events(
            item=item,
            timestamp=time,
            label=np.where(unread | unasked, NO_LABEL, label).astype(np.int8),
            rating=np.nan_to_num(rating).astype(np.float32),
            scene=scene,
            behavior=behavior,
        )
        return in_order(events.take(kept), item_rank)

    def _answered(self, frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        """The events, with the answer 0 where they are none of the data's samples; which those are, [N]."""
        unasked = np.zeros(len(frame), dtype=bool)
        if self.moveline is None or "behavior" not in frame:
            return frame, unasked
        answer = self.threshold[0] if self.threshold and self.threshold[0] in frame else self.label
        unasked = _filled(frame, "behavior") & ~_filled(frame, answer)
        if not unasked.any():
            return frame, unasked
        nowhere = unasked & ~_filled(frame, "scene")
        if nowhere.any():
            raise RowError(int(nowhere.argmax()), "scene is missing: fill it, or remove the row.")
        item, given = (frame.get(name, pd.Series("", frame.index)) for name in (self.item, answer))
        no_item = unasked & ~_filled(frame, self.item)
        cells = {self.item: item.mask(no_item, NO_ITEM), answer: given.mask(unasked, 0)}
        return frame.assign(**cells), unasked

    def _labels(self, frame: pd.DataFrame) -> np.ndarray:
        if self.threshold is not None and self.threshold[0] in frame:
            name, least = self.threshold
            require(frame, [name])
            return as_numbers(frame[name], name) >= least
        if self.label not in frame:
            also = f" or {self.threshold[0]!r}" if self.threshold else ""
            raise UserError(f"The events have no column {self.label!r}{also}: say which of them were clicks.")
        require(frame, [self.label])
        label = as_numbers(frame[self.label], self.label)
        wrong = ~np.isin(label, (0, 1))
        if wrong.any():
            row = int(wrong.argmax())
            raise RowError(row, f"{self.label} is {label[row]:g}: give 0 or 1.")
        return label == 1

    def _kept(self, frame: pd.DataFrame) -> np.ndarray:
        """Which rows ``val_interval`` leaves, [N] bool."""
        kept = np.ones(len(frame), dtype=bool)
        for name, allowed in self.intervals.items():
            if name not in frame:
                continue
            if isinstance(allowed, list):
                kept &= np.isin(frame[name].astype(str), [str(value) for value in allowed])
            else:
                kept &= _within(as_numbers(frame[name], name), allowed)
        return kept


def _filled(frame: pd.DataFrame, name: str) -> np.ndarray:
    """Which rows have a value in a column, [N] bool; none where it is not there."""
    if name not in frame:
        return np.zeros(len(frame), dtype=bool)
    return (frame[name].notna() & (frame[name].astype(object) != "")).to_numpy()


def _known(tokens: pd.Series, numbers: dict[str, int]) -> np.ndarray:
    """The numbers of tokens, [N]; 0 for what nobody knew."""
    return tokens.astype(str).map(numbers).fillna(PADDING).to_numpy(dtype=np.int64)


def in_order(events: Events, item_rank: np.ndarray) -> Events:
    """One user's events as the log orders them: by time, then item; equal ones stay as they are."""
    return events.take(np.lexsort((item_rank[events.item], events.timestamp)))


def _within(values: np.ndarray, intervals: str) -> np.ndarray:
    """Whether values lie in one of the intervals, written as RecBole does: "[0,3);(3,inf)"."""
    inside = np.zeros(len(values), dtype=bool)
    for interval in str(intervals).replace(" ", "").split(";"):
        low, high = map(float, interval[1:-1].split(","))
        above = values >= low if interval[0] == "[" else values > low
        inside |= above & (values <= high if interval[-1] == "]" else values < high)
    return inside
