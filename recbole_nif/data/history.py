"""Adds to a batch of rows what its model reads of the past: click history and moveline windows."""

from __future__ import annotations

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_nif.data import fields
from recbole_nif.data.event_log import gather_runs
from recbole_nif.errors import UserError

KINDS = {"clicks": "clicks", "all": "samples", "all_with_label": "samples"}  # config history -> log index


class HistoryReader:
    """Reads windows for rows out of a dataset's event log, according to its ``needs``.

    All index arithmetic lives here and in :class:`EventLog`; nothing is kept per row.
    """

    def __init__(self, dataset):
        config = dataset.config
        self.log, self.needs = dataset.event_log, dataset.needs
        suffix, prefix = config["LIST_SUFFIX"], config["NEG_PREFIX"]
        self.item_list = dataset.iid_field + suffix
        self.negative_list = prefix + dataset.iid_field + suffix
        self.label_list = dataset.label_field + suffix
        self.scene_list = fields.SCENE + suffix
        self.length_field = config["ITEM_LIST_LENGTH_FIELD"]
        self.history_length = config["MAX_ITEM_LIST_LENGTH"]
        self.kind = KINDS[config["history"] or "clicks"]
        self.history_stride = _stride(config, "history_stride", "MAX_ITEM_LIST_LENGTH", self.history_length)
        self.window_length = config["moveline_length"] or 50
        self.stride = _stride(config, "moveline_stride", "moveline_length", self.window_length)
        self._gather = self._history_columns(dataset, config)

    def _history_columns(self, dataset, config) -> dict[str, Tensor]:
        """The log's columns that histories are made of, packed to the chosen kind of events."""
        if not (self.needs.clicks or self.needs.history_windows):
            return {}
        index = {"clicks": self.log.clicks, "samples": self.log.samples}[self.kind]
        member = slice(None) if index is None else index.positions.long()
        columns = {self.item_list: self.log.item[member].contiguous()}
        if self.needs.history_labels:
            columns[self.label_list] = self.log.label[member] + 1  # int8
        if self.needs.history_scenes:
            columns[self.scene_list] = self.log.scene[member].contiguous()
        if self.needs.negatives and dataset.item_num < 3:  # padding and one item
            raise UserError(f"{config['model']} draws other items as negatives, but the data have one item.")
        if self.needs.negatives:  # one uniform negative per event, as RecBole's DIENDataset draws them
            generator = torch.Generator().manual_seed(config["seed"])
            items = columns[self.item_list]
            other = torch.randint(
                1, dataset.item_num - 1, items.shape, generator=generator, dtype=torch.int32
            )
            columns[self.negative_list] = other + (other >= items).int()  # never the event's own item
        self._index = index
        return columns

    def add(self, batch: Interaction, rows: Tensor) -> None:
        """Adds the needed fields of ``rows`` [B] to ``batch`` in place."""
        if self.needs.clicks:
            self._add_history(batch, rows)
        if self.needs.history_windows:
            self._add_shared_histories(batch, rows)
        if self.needs.moveline:
            self._add_moveline(batch, rows)
        if self.needs.pairs:
            position = self.log.position[rows].long()
            batch[fields.TIE_BEGIN] = self.log.tie_begin[position].long()
            batch[fields.TIE_END] = self.log.tie_end[position].long()

    def _history_range(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """All events of the chosen kind that each row may see, as a range of the packed columns; [B] each."""
        begin, end = self.log.visible(rows)
        return (begin, end) if self._index is None else self._index.range(begin, end)

    def _add_history(self, batch: Interaction, rows: Tensor) -> None:
        begin, end = self._history_range(rows)
        start = torch.maximum(begin, end - self.history_length)
        length = end - start
        width = self.history_length if self.needs.fixed_length else max(1, int(length.max()))
        for name, values in self._gather.items():
            batch[name] = gather_runs(values, start, length, width)  # [B, L]
        if self.needs.negatives:
            length = length.clamp(min=1)  # RecBole's DIEN packs sequences: an empty one is one padding item
        batch[self.length_field] = length

    def shared_history(self, rows: Tensor) -> Tensor:
        """What tells the histories of rows apart, [B]: ``start * (history_length + 1) + length``.

        ``window``: the last ``history_length`` events. ``packed``: the start lies on a grid, so that the
        histories of neighboring rows are prefixes of one window; they hold the last ``history_length -
        history_stride + 1`` to ``history_length`` events.
        """
        begin, end = self._history_range(rows)
        stride = self.history_stride if self.needs.history_windows == "packed" else 1
        skipped = (end - begin - self.history_length).clamp(min=0)
        start = begin + -(-skipped // stride) * stride
        return start * (self.history_length + 1) + end - start

    def row_groups(self, rows: Tensor) -> Tensor:
        """The window of each row, [B]; batches keep rows of one window together."""
        if self.needs.moveline:
            return self.window_start(rows)
        shared = self.shared_history(rows)
        return shared // (self.history_length + 1) if self.needs.history_windows == "packed" else shared

    def _add_shared_histories(self, batch: Interaction, rows: Tensor) -> None:
        histories, row_history = torch.unique(self.shared_history(rows), return_inverse=True)
        start, cut = histories // (self.history_length + 1), histories % (self.history_length + 1)
        if self.needs.history_windows == "packed":
            starts, window = torch.unique(start, return_inverse=True)
            count = torch.zeros_like(starts).scatter_reduce_(0, window, cut, "amax", include_self=False)
        else:  # every history is a window of its own: nothing may lie behind its end
            starts, window, count = start, torch.arange(len(start)), cut
        width = max(1, int(count.max()))
        shared = {fields.HISTORY_ITEM: self._gather[self.item_list]}
        if self.needs.history_labels:
            shared[fields.HISTORY_LABEL] = self._gather[self.label_list]
        if self.needs.history_scenes:
            shared[fields.HISTORY_SCENE] = self._gather[self.scene_list]
        windows = {name: gather_runs(values, starts, count, width) for name, values in shared.items()}
        batch.update(Interaction(windows))  # [U, n]
        batch[fields.HISTORY_WINDOW], batch[fields.HISTORY_CUT] = window, cut
        batch[fields.HISTORY_OF] = row_history

    def window_start(self, rows: Tensor) -> Tensor:
        """Log position where each row's moveline window begins, [B]: on a grid, so that rows share it."""
        begin, end = self.log.visible(rows)
        skipped = (end - begin - self.window_length).clamp(min=0)
        return begin + -(-skipped // self.stride) * self.stride

    def _add_moveline(self, batch: Interaction, rows: Tensor) -> None:
        end = self.log.visible(rows)[1]
        start = self.window_start(rows)
        # Adjacent rows usually share a window; without a common one a batch of B rows holds B windows.
        starts, window = torch.unique(start, return_inverse=True)
        stop = torch.zeros_like(starts).scatter_reduce_(0, window, end, "amax", include_self=False)
        batch.update(Interaction(read_windows(self.log, starts, stop, self.window_length)))
        batch[fields.MOVELINE_ROW] = window
        batch[fields.MOVELINE_CUT] = end - start
        batch[fields.ROW_GAP] = self.log.row_gap(rows)


def _stride(config, key: str, length_key: str, length: int) -> int:
    """Events between the begins of two windows of ``length``; half of it by default."""
    stride = config[key] or -(-length // 2)
    if stride > length:
        raise UserError(f"{key} is {stride}: it must be between 1 and {length_key} ({length}).")
    return stride


def read_windows(log, start: Tensor, stop: Tensor, length: int) -> dict[str, Tensor]:
    """Moveline windows [start, stop) of the log, each [U, length] int64 and padded with 0 on the right.

    start, stop: [U] int64, ``stop - start <= length``.
    """
    count = stop - start
    columns = {
        fields.MOVELINE_ITEM: log.item,
        fields.MOVELINE_SCENE: log.scene,
        fields.MOVELINE_BEHAVIOR: log.behavior,
        fields.MOVELINE_GAP: log.gap,
    }
    windows = {name: gather_runs(values, start, count, length) for name, values in columns.items()}
    windows[fields.MOVELINE_START] = start
    return windows
