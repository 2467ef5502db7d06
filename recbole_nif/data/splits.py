"""RecBole's split rules on exact times, without loops over rows.

RecBole sorts by a float32 time (unix seconds are rounded to 64-128 s) and breaks ties by file order.
Here rows are sorted by exact time and item token; ``order_precision: float32`` gives RecBole's rows back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from recbole_nif.errors import UserError


@dataclass(frozen=True)
class SplitRule:
    """What ``eval_args`` and ``split_ties`` say, checked.

    kind: RS (ratios), LS (leave one out) or TS (RecBole's time based split).
    """

    kind: str
    ratios: tuple[float, ...]  # RS and TS
    leave: str  # LS: valid_and_test | valid_only | test_only
    by_user: bool
    time_ordered: bool
    whole_ties: bool

    @classmethod
    def from_config(cls, config) -> SplitRule:
        """Reads ``eval_args`` (order, split, group_by) and ``split_ties``."""
        args = config["eval_args"]
        split = args["split"]
        if not isinstance(split, dict) or len(split) != 1 or next(iter(split)) not in ("RS", "LS", "TS"):
            raise UserError(
                f"eval_args.split is {split!r}: give one of RS, LS or TS, such as {{RS: [0.8, 0.1, 0.1]}}."
            )
        kind, value = next(iter(split.items()))
        if args["order"] not in ("TO", "RO"):
            raise UserError(f"eval_args.order is {args['order']!r}: use TO (by time) or RO (random).")
        group_by = str(args.get("group_by") or "none").lower()
        if group_by not in ("user", "none"):
            raise UserError(f"eval_args.group_by is {group_by!r}: use user or none.")
        if kind != "LS" and not _are_ratios(value):
            raise UserError(
                f"eval_args.split.{kind} is {value!r}: give three ratios, such as [0.8, 0.1, 0.1]."
            )
        if kind == "TS" and sum(value) == value[2]:
            raise UserError(
                f"eval_args.split.TS is {value!r}: leave rows for training, such as [0.8, 0.1, 0.1]."
            )
        if kind == "LS" and value not in ("valid_and_test", "valid_only", "test_only"):
            raise UserError(f"eval_args.split.LS is {value!r}: use valid_and_test, valid_only or test_only.")
        rule = cls(
            kind=kind,
            ratios=() if kind == "LS" else tuple(part / sum(value) for part in value),
            leave=value if kind == "LS" else "",
            by_user=kind != "RS" or group_by == "user",
            time_ordered=args["order"] == "TO",
            whole_ties=config["split_ties"] == "whole",
        )
        if rule.whole_ties and not (rule.time_ordered and kind == "RS"):
            raise UserError(
                "split_ties: whole works with time-ordered ratio splits only: set split_ties: cut."
            )
        return rule


def _are_ratios(value) -> bool:
    """Whether a value is a list of three numbers, none below 0, that have a finite sum above 0."""
    numbers = isinstance(value, list) and all(type(part) in (int, float) for part in value)
    return numbers and len(value) == 3 and min(value) >= 0 and 0 < sum(value) < math.inf


def split_dataset(dataset, columns) -> tuple[list[np.ndarray], dict]:
    """The training, validation and test rows of a dataset that has its event log, and a report for people.

    Args:
        dataset: a ``CTRDataset``.
        columns: its ``LogColumns``, with exact times.

    Returns:
        three arrays of row ids, rows of a user neighbors, so that evaluation batches share moveline windows;
        the files that are the splits, or how many rows a float32 clock would move.
    """
    config, size = dataset.config, len(dataset.inter_feat)
    log_order = dataset.event_log.position.numpy()
    if dataset.benchmark_filename_list is not None:
        parts = np.split(np.arange(size), np.cumsum(dataset.file_size_list)[:-1])
        if config["history_until"] == "train":
            _check_training_comes_first(dataset, columns, parts)
        report = {"benchmark_filename": dataset.benchmark_filename_list}
        return [part[np.argsort(log_order[part])] for part in parts], report
    rule = SplitRule.from_config(config)
    if not rule.time_ordered:
        generator = torch.Generator().manual_seed(config["seed"])
        orders = {"shuffled": torch.randperm(size, generator=generator).numpy()}  # as RecBole's shuffle
    elif dataset.time_field not in dataset.inter_feat:
        raise UserError(
            f"eval_args.order: TO needs a time column; {dataset.dataset_name} has no {dataset.time_field!r}."
        )
    else:
        item_rank, user_rank = dataset.token_rank(dataset.iid_field), dataset.token_rank(dataset.uid_field)
        exact = np.lexsort((item_rank[columns.item], user_rank[columns.user], columns.timestamp))
        rounded = dataset.inter_feat[dataset.time_field].numpy()
        rounded = rounded.reshape(size, -1)[:, 0]  # of a time that is a feature: without its bucket
        orders = {"exact": exact, "float32": np.argsort(rounded, kind="stable")}
    parts = {
        name: split_rows(rule, user=columns.user, time=columns.timestamp, order=order)
        for name, order in orders.items()
    }
    report = {}
    if rule.time_ordered:
        report["rows_moved_by_float32"] = _rows_moved(parts["exact"], parts["float32"], size)
    chosen = parts[config["order_precision"] or "exact"] if rule.time_ordered else parts["shuffled"]
    return [part[np.argsort(log_order[part])] for part in chosen], report


def _check_training_comes_first(dataset, columns, parts: list[np.ndarray]) -> None:
    """Refuses files with a row to be tested before a training row of its user: no cut lies between them."""
    train, others = parts[0], np.concatenate(parts[1:])
    last = np.full(dataset.user_num, columns.timestamp.min() - 1, dtype=columns.timestamp.dtype)
    np.maximum.at(last, columns.user[train], columns.timestamp[train])
    early = int((columns.timestamp[others] < last[columns.user[others]]).sum())
    if early:
        files = ", ".join(dataset.benchmark_filename_list)
        raise UserError(
            f"history_until: train needs files in order of time, but of benchmark_filename ({files}) {early} "
            "validation or test rows lie before a training row of their user: set history_until: online."
        )


def _rows_moved(parts: list[np.ndarray], other: list[np.ndarray], size: int) -> int:
    """How many rows lie in another split."""
    where = np.empty((2, size), dtype=np.int8)
    for row, split in zip(where, (parts, other), strict=True):
        for number, part in enumerate(split):
            row[part] = number
    return int((where[0] != where[1]).sum())


def split_rows(rule: SplitRule, *, user: np.ndarray, time: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Row ids of the training, validation and test split.

    Args:
        rule: the split rule.
        user, time: [R] by row id.
        order: [R] row ids in the order that the rule cuts: by time (ties broken) or shuffled.

    Returns:
        three arrays of row ids, each in the given order.
    """
    if rule.by_user:
        order = order[np.argsort(user[order], kind="stable")]
        group = user[order]
    else:
        group = np.zeros(len(order), dtype=np.int64)
    first = np.ones(len(order), dtype=bool)
    first[1:] = group[1:] != group[:-1]
    starts = np.flatnonzero(first)
    counts = np.diff(np.append(starts, len(order)))
    number = np.cumsum(first) - 1
    rank = np.arange(len(order)) - starts[number]  # the row's place inside its group
    if rule.kind == "TS":
        part = _time_based(rule.ratios, time[order], rank, number, len(starts))
    else:
        sizes = (
            _leave_one_sizes(rule.leave, counts) if rule.kind == "LS" else _ratio_sizes(rule.ratios, counts)
        )
        bounds = np.cumsum(sizes, axis=1)  # [groups, 3]
        part = (rank >= bounds[number, 0]).astype(np.int8) + (rank >= bounds[number, 1])
    if rule.whole_ties:
        new_tie = first.copy()
        new_tie[1:] |= time[order][1:] != time[order][:-1]
        part = part[np.flatnonzero(new_tie)][np.cumsum(new_tie) - 1]  # a tie group follows its first row
    return [order[part == p] for p in range(3)]


def _ratio_sizes(ratios: tuple[float, ...], counts: np.ndarray) -> np.ndarray:
    """RecBole's ``_calcu_split_ids`` for all groups at once: [groups, parts]."""
    sizes = (np.asarray(ratios)[None, :] * counts[:, None]).astype(np.int64)
    sizes[:, 0] = counts - sizes[:, 1:].sum(axis=1)
    open_group = np.ones(len(counts), dtype=bool)
    for part in range(len(ratios) - 1, 0, -1):  # the last part first, while the first has a row to give
        open_group &= sizes[:, 0] > 1
        expected = ratios[part] * counts
        gives = open_group & (expected > 0) & (expected < 1)
        sizes[:, part] += gives
        sizes[:, 0] -= gives
    return sizes


def _leave_one_sizes(leave: str, counts: np.ndarray) -> np.ndarray:
    """RecBole's leave-one-out: a group of c rows gives away at most c - 1, the test row first."""
    wanted = 2 if leave == "valid_and_test" else 1
    given = np.minimum(wanted, counts - 1)
    valid = np.zeros_like(counts)
    test = np.zeros_like(counts)
    if leave == "valid_only":
        valid = given
    elif leave == "test_only":
        test = given
    else:
        test, valid = np.minimum(given, 1), np.maximum(given - 1, 0)
    return np.stack([counts - given, valid, test], axis=1)


def _time_based(ratios, time: np.ndarray, rank: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """RecBole's TS: test is what lies past a global time, the rest is cut per user."""
    past = time > np.percentile(time, 100 * (1 - ratios[2]))
    kept = np.bincount(group[~past], minlength=n_groups)
    train = (kept * (ratios[0] / (1 - ratios[2]))).astype(np.int64)
    return np.where(past, 2, rank >= train[group]).astype(np.int8)
