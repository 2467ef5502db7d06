"""CTRDataset: RecBole's Dataset with an event log beside it.

Every labelled row is a sample, the first of a user too, so that sequence models and feature-interaction
models train and score identical rows. Histories are gathered from the log when a batch is read.
"""

from __future__ import annotations

import logging
import traceback
import zlib
from pathlib import Path

import numpy as np
import torch
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor

from recbole_nif import compat
from recbole_nif.data import fields, history
from recbole_nif.data.event_log import EventLog
from recbole_nif.data.log_builder import LogColumns, MovelineNames, build_log
from recbole_nif.data.named_columns import check_columns, check_files
from recbole_nif.data.needs import Needs
from recbole_nif.data.rows import RowReader
from recbole_nif.data.scenes import SceneVocabulary
from recbole_nif.data.sources import ensure_dataset, filters_as_shipped, verify_counts
from recbole_nif.data.splits import split_dataset
from recbole_nif.data.validation import AtomicFile
from recbole_nif.errors import UserError
from recbole_nif.semantic_id.build import semantic_ids_of
from recbole_nif.semantic_id.codes import SemanticIds

RECBOLE_DATASET = str(Path("recbole", "data", "dataset", "dataset.py"))
logger = logging.getLogger(__name__)


class CTRDataset(RowReader, Dataset):
    """A RecBole dataset for CTR models on one shared :class:`EventLog`.

    After :meth:`build`:
        event_log: the log, shared by the three views.
        scenes: :class:`SceneVocabulary`; n_behaviors: number of behavior ids with padding 0.
        clicked_behaviors: bool [n_behaviors], which ids say that the event was a click.
        moveline_names: :class:`MovelineNames`, what the events of ``moveline_files`` are called, or None.
        all_rows: the columns of every row, whatever its split, by row id.
        item_scene: [items] int64, the scene set of an item (its most frequent one in the training
            split when scenes belong to events).
        train_rows: row ids of the training split; train_item_count: [items] clicks in it.
        split_report: how many rows a float32 clock would move, or the files that are the splits.
        raw_numbers: the values of each of ``numerical_features`` before RecBole scales or cuts them.
        n_duplicates: rows that repeat user, item and time of an earlier one; they are kept.
        semantic_ids: the codes of all items, made when first asked for; for models that declare
            ``needs_semantic_ids``.

    Raises:
        UserError: missing label or time, an unsupported evaluation mode, an empty split.
    """

    event_log: EventLog
    scenes: SceneVocabulary
    n_behaviors: int
    clicked_behaviors: Tensor
    moveline_names: MovelineNames | None
    all_rows: Interaction
    item_scene: Tensor
    train_rows: Tensor
    train_item_count: Tensor
    split_report: dict
    raw_numbers: dict[str, np.ndarray]
    n_duplicates: int

    def __init__(self, config):
        modes = config["eval_args"]["mode"]
        if set(modes.values() if isinstance(modes, dict) else [modes]) != {"labeled"}:
            raise UserError(
                f"eval_args.mode is {modes}: CTR models are evaluated on labelled rows, set it to labeled."
            )
        self.needs = Needs.of(config)
        self._made: dict[str, SemanticIds] = {}  # one for all views
        try:
            super().__init__(config)
        except ValueError as error:
            if not _raised_on_purpose(error):
                raise
            raise UserError(f"RecBole cannot load {config['dataset']}: {error}") from error

    # -- loading: RecBole's steps, with exact times and ratings captured before it rounds or drops them

    def _load_data(self, token: str, dataset_path: str) -> None:
        ensure_dataset(token, Path(dataset_path), self.config["source"])
        check_files(token, Path(dataset_path), self.config)
        super()._load_data(token, dataset_path)
        check_columns(self)

    def _load_feat(self, filepath: str, source):
        file = AtomicFile.of(filepath, self.config)
        load_col, _ = self._get_load_and_unload_col(source)
        if load_col == set():
            return None  # nothing of this file is asked for
        required = self._required_columns(source)
        for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
            file.require({self.config[key]} & set(required), key)
        file.require(load_col or (), "load_col")
        file.check_lines()
        try:
            with compat.c_engine():
                frame = super()._load_feat(filepath, source)
        except ValueError as error:
            raise file.unreadable(error) from error
        if frame is not None:
            file.check_values(frame, required, self.time_field)
        return frame

    def _required_columns(self, source) -> list[str]:
        """Columns of a file in which RecBole must not fill gaps."""
        config = self.config
        if source == FeatureSource.INTERACTION:
            label = [config["RATING_FIELD"], self.label_field, *(config["threshold"] or ())]
            return [self.uid_field, self.iid_field, self.time_field, *label]
        return {FeatureSource.USER: [self.uid_field], FeatureSource.ITEM: [self.iid_field]}.get(source, [])

    def _filter_inter_by_user_or_item(self) -> None:
        before = len(self.inter_feat)
        super()._filter_inter_by_user_or_item()
        dropped = before - len(self.inter_feat)
        if dropped:
            logger.warning(
                "%d rows are dropped, since their user or item is not in %s.user or %s.item; "
                "filter_inter_by_user_or_item: False keeps them.",
                dropped, self.dataset_name, self.dataset_name,
            )  # fmt: skip

    def _set_label_by_threshold(self) -> None:
        frame = self.inter_feat
        self._columns = LogColumns.capture(self, frame)
        super()._set_label_by_threshold()
        if self.label_field not in frame:
            raise UserError(
                f"Dataset {self.dataset_name} has no column {self.label_field!r}: set threshold, such as "
                f"{{rating: 4}}, or LABEL_FIELD to the column that holds 0 and 1."
            )
        label = frame[self.label_field].to_numpy()
        if not np.isin(label, (0, 1)).all():
            raise UserError(
                f"Column {self.label_field!r} of {self.dataset_name} must hold 0 and 1 only: set threshold."
            )
        if label.min() == label.max():
            raise UserError(
                f"All rows of {self.dataset_name} have label {label[0]:g}: check threshold and val_interval."
            )
        self._columns.label = label.astype(np.int8)

    def _normalize(self) -> None:
        self.raw_numbers = {  # as in the files, by which values that come later are treated alike
            name: feature[name].to_numpy(copy=True)
            for name in self.config["numerical_features"] or ()
            for feature in self.field2feats(name)
            if self.field2type[name] == FeatureType.FLOAT
        }
        super()._normalize()

    # -- building: log, split, views

    def build(self) -> list[CTRDataset]:
        """Builds the log and returns the training, validation and test views."""
        self._change_feat_format()
        self.inter_feat[fields.ROW_ID] = torch.arange(len(self.inter_feat))
        columns = self._columns
        self.n_duplicates = columns.duplicates()
        if self.n_duplicates:
            logger.info(
                "%d rows repeat user, item and time of an earlier row; rm_dup_inter: first keeps one row of "
                "each user and item.",
                self.n_duplicates,
            )
        built = build_log(self, columns)
        self.event_log, self.scenes = built.log, built.scenes
        self.n_behaviors, self.clicked_behaviors = built.n_behaviors, built.clicked_behaviors
        self.moveline_names = built.moveline_names
        parts, self.split_report = split_dataset(self, columns)
        for name, part in zip(("training", "validation", "test"), parts, strict=True):
            if len(part) == 0 and self.config["eval_args"]["split"].get("LS") in (None, "valid_and_test"):
                raise UserError(
                    f"The {name} split of {self.dataset_name} is empty: change eval_args.split or filters."
                )
        self.train_rows = torch.from_numpy(parts[0])
        if self.config["history_until"] == "train":
            if self.config["eval_args"]["order"] != "TO":
                raise UserError("history_until: train needs a split by time: set eval_args.order to TO.")
            self.event_log = self.event_log.freeze_after(self.train_rows)
        self._count_training_clicks(built.item_scene)
        self.all_rows = self.inter_feat  # in row_id order; every view reads its rows from here
        self.history = history.HistoryReader(self)
        self._drop_unused_col()
        expected = (self.config["source"] or {}).get("expected")
        verify_counts(self, expected, in_force=filters_as_shipped(self.config))
        return [self.copy(self._rows_of(torch.from_numpy(part))) for part in parts]

    def fields(self, ftype=None, source=None) -> list[str]:
        """As RecBole's, of types ``ftype`` and sources ``source``; None means all of them.

        RecBole's models ask by source for their features, and ``behavior_field``, which may tell what came of
        the impression, is none.
        """
        names = super().fields(ftype, source)
        return names if source is None else [name for name in names if name != self.config["behavior_field"]]

    @property
    def semantic_ids(self) -> SemanticIds:
        if not self.needs.semantic_ids:
            raise RuntimeError("semantic IDs are for models that declare needs_semantic_ids = True")
        if "semantic_ids" not in self._made:
            self._made["semantic_ids"] = semantic_ids_of(self.config, self)
        return self._made["semantic_ids"]

    def n_clicks(self) -> int:
        """Clicked rows of this view."""
        return int(self.inter_feat[self.label_field].sum())

    def fingerprint(self) -> int:
        """A checksum of log, scenes, training rows and semantic IDs, by which a run knows its data again."""
        log, checksum = self.event_log, 0
        ids = [self.semantic_ids.codes] if self.needs.semantic_ids else []
        item, scene = log.item.int(), log.scene.int()  # whatever bytes they take in the log
        scenes = (scene, log.behavior.int(), self.scenes.members.contiguous(), self.item_scene)
        for values in (log.offsets, item, log.label, log.timestamp, *scenes, self.train_rows, *ids):
            checksum = zlib.crc32(values.numpy(), checksum)
        return checksum

    def token_rank(self, field: str) -> np.ndarray:
        """Order of a field's tokens, [tokens], so that every source of the data breaks ties alike."""
        tokens = np.asarray(self.field2id_token[field]).astype(str)
        rank = np.empty(len(tokens), dtype=np.int64)
        rank[np.argsort(tokens, kind="stable")] = np.arange(len(tokens))
        return rank

    def _count_training_clicks(self, item_scene: Tensor | None) -> None:
        position = self.event_log.position[self.train_rows].long()
        item, clicked = self.event_log.item[position].long(), self.event_log.label[position] == 1
        self.train_item_count = torch.bincount(item[clicked], minlength=self.item_num)
        if item_scene is None:  # scenes belong to events: an item's most frequent one in training
            n_sets = len(self.scenes.members)
            code = item * n_sets + self.event_log.scene[position].long()
            pairs, count = torch.unique(code, return_counts=True)
            by_count = pairs[torch.argsort(count, stable=True)].numpy()
            scene = np.zeros(self.item_num, dtype=np.int64)
            scene[by_count // n_sets] = by_count % n_sets  # numpy's last write counts: the most frequent
            item_scene = torch.from_numpy(scene)
        self.item_scene = item_scene

    def with_log(self, log: EventLog, rows: Interaction | None = None) -> CTRDataset:
        """This view on another log of the same users, times and rows; what training counted stays.

        rows: the samples' own columns by row id, where they differ too.
        """
        view = self.copy(self.inter_feat)
        view.event_log = log
        if rows is not None:
            view.all_rows = rows
            view.inter_feat = view._rows_of(self.inter_feat[fields.ROW_ID])
        view.history = history.HistoryReader(view)
        return view


def _raised_on_purpose(error: ValueError) -> bool:
    """Whether RecBole's dataset code says what is wrong, unlike an error of pandas or a bug."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename.endswith(RECBOLE_DATASET) and (last.line or "").startswith("raise")
