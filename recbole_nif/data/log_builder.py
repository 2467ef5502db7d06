"""From a loaded RecBole dataset to an event log: labels, scenes, behaviors and moveline files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog, EventTable
from recbole_nif.data.scenes import SceneVocabulary, constant_scene, cross_scenes, set_scenes, token_scenes
from recbole_nif.data.validation import AtomicFile, missing_cells
from recbole_nif.errors import UserError

CLICKED, UNCLICKED = 2, 1  # behavior of a sample without a behavior field: 1 + label


@dataclass
class LogColumns:
    """A sample's values before RecBole normalizes, rounds or deletes them; all [R] by row id."""

    user: np.ndarray
    item: np.ndarray
    timestamp: np.ndarray
    rating: np.ndarray
    label: np.ndarray | None = None

    @classmethod
    def capture(cls, dataset, frame: pd.DataFrame) -> LogColumns:
        """Takes ids, exact times and raw ratings out of RecBole's interaction frame."""
        size = len(frame)
        time = frame[dataset.time_field].to_numpy() if dataset.time_field in frame else np.zeros(size)
        rating_field = dataset.config["RATING_FIELD"]
        rating = frame[rating_field].to_numpy() if rating_field in frame else np.zeros(size)
        return cls(
            user=frame[dataset.uid_field].to_numpy(),
            item=frame[dataset.iid_field].to_numpy(),
            timestamp=_whole_seconds(time),
            rating=rating.astype(np.float32),
        )

    def duplicates(self) -> int:
        """How many rows repeat user, item and time of an earlier row."""
        events = pd.DataFrame({"user": self.user, "item": self.item, "timestamp": self.timestamp})
        return int(events.duplicated().sum())


def _whole_seconds(time: np.ndarray) -> np.ndarray:
    """A copy of the times, as integers where none has a fraction."""
    return time.astype(np.int64 if np.equal(time, np.floor(time)).all() else np.float64)


@dataclass(frozen=True)
class MovelineNames:
    """What the events of ``moveline_files`` are called: scene set by scene, id by behavior."""

    scenes: dict[str, int]
    behaviors: dict[str, int]


@dataclass(frozen=True)
class BuiltLog:
    log: EventLog
    scenes: SceneVocabulary
    item_scene: Tensor | None  # [items], None when scenes belong to events
    n_behaviors: int
    clicked_behaviors: Tensor  # bool [n_behaviors]
    moveline_names: MovelineNames | None  # None without moveline_files


def build_log(dataset, columns: LogColumns) -> BuiltLog:
    """Builds the log of a dataset whose features are already tensors (after ``_change_feat_format``)."""
    config = dataset.config
    extra = _read_moveline_files(dataset)
    scenes, scene, item_scene = _scenes(dataset, columns, extra)
    behavior, n_behaviors, clicked = _behaviors(dataset, columns, extra)
    names = None
    if extra is not None:
        names = MovelineNames(
            _numbers(extra["scene"], scene[len(columns.user) :]),
            _numbers(extra["behavior"], behavior[len(columns.user) :]),
        )
    size, n_extra = len(columns.user), 0 if extra is None else len(extra)

    def joined(sample_values: np.ndarray, extra_values) -> np.ndarray:
        return sample_values if extra is None else np.concatenate([sample_values, extra_values])

    events = EventTable(
        user=joined(columns.user, extra is not None and extra["user"]),
        item=joined(columns.item, extra is not None and extra["item"]),
        timestamp=joined(columns.timestamp, extra is not None and extra["timestamp"]),
        label=joined(columns.label, np.full(n_extra, NO_LABEL, dtype=np.int8)),
        rating=joined(columns.rating, np.zeros(n_extra, dtype=np.float32)),
        scene=scene,
        behavior=behavior,
        row_id=joined(np.arange(size), np.full(n_extra, NO_ROW)),
        item_rank=dataset.token_rank(dataset.iid_field),
    )
    strict = (config["history_ties"] or "strict") == "strict"
    log = EventLog.build(events, n_users=dataset.user_num, strict=strict)
    return BuiltLog(log, scenes, item_scene, n_behaviors, clicked, names)


def _scenes(dataset, columns: LogColumns, extra) -> tuple[SceneVocabulary, np.ndarray, Tensor | None]:
    """The vocabulary, the scene set of every event, and of every item where scenes belong to items."""
    names, mode = scene_fields(dataset.config), dataset.config["scene_mode"]
    hash_size = dataset.config["scene_hash_size"] or 100_000
    if extra is not None and len(names) != 1:
        raise UserError(
            "moveline_files need one scene_field, a token column of the .inter file whose values join theirs."
        )
    if not names:
        vocabulary, scene = constant_scene(len(columns.user))
        return vocabulary, scene, torch.ones(dataset.item_num, dtype=torch.long)
    for name in names:
        if name not in dataset.field2type:
            raise UserError(
                f"scene_field {name!r} is not a loaded column of {dataset.dataset_name}: add it to load_col."
            )
        if dataset.field2type[name] not in (FeatureType.TOKEN, FeatureType.TOKEN_SEQ):
            raise UserError(f"scene_field {name!r} must be a token or token_seq column.")
    of_items = scenes_of_items(dataset)
    source = [
        (dataset.item_feat if of_items else _sample_values(dataset, columns, name))[name].numpy()
        for name in names
    ]
    if extra is not None and (of_items or source[0].ndim != 1):
        raise UserError(
            f"moveline_files bring scenes of events, but scene_field {names[0]!r} is not a token column of "
            "the .inter file: name one whose values join theirs."
        )
    crossed = len(names) == 2 or mode == "cross"
    if crossed and (len(names) != 2 or any(values.ndim != 1 for values in source)):
        raise UserError(f"scene_mode: cross needs two token fields in scene_field, got {names}.")
    if crossed:
        vocabulary, sets = cross_scenes(source[0], source[1], hash_size)
    elif source[0].ndim == 2:
        vocabulary, sets = set_scenes(source[0], dataset.num(names[0]), hash_size)
    else:
        tokens, n_tokens = source[0], dataset.num(names[0])
        if extra is not None:  # behavior logs name scenes of their own: they join the field's vocabulary
            known = dataset.field2token_id[names[0]]
            more, new = pd.factorize(extra["scene"])
            number = np.array([known.get(token, -1) for token in new], dtype=np.int64)
            fresh = number < 0
            number[fresh] = n_tokens + np.arange(fresh.sum())
            n_tokens += int(fresh.sum())
            tokens = np.concatenate([tokens, number[more]])
        vocabulary, sets = token_scenes(tokens, n_tokens, hash_size)
    if of_items:
        return vocabulary, sets[columns.item], torch.from_numpy(sets)
    return vocabulary, sets, None


def _numbers(tokens: pd.Series, numbers: np.ndarray) -> dict[str, int]:
    """What number each token has; both [M]."""
    first = ~tokens.duplicated().to_numpy()
    return dict(zip(tokens[first].tolist(), numbers[first].tolist(), strict=True))


def scene_fields(config) -> list[str]:
    """The fields that name the scene of an event; none where all have the same one."""
    names = config["scene_field"]
    return [names] if isinstance(names, str) else list(names or [])


def scenes_of_items(dataset) -> bool:
    """Whether an event's scene is that of its item."""
    features = dataset.item_feat
    return features is not None and all(name in features for name in scene_fields(dataset.config))


def _sample_values(dataset, columns: LogColumns, name: str):
    """Where an event's value of a field comes from: the row itself, or its user or item."""
    if name in dataset.inter_feat:
        return dataset.inter_feat
    for feature, ids in ((dataset.item_feat, columns.item), (dataset.user_feat, columns.user)):
        if feature is not None and name in feature:
            return {name: feature[name][torch.from_numpy(ids)]}
    raise UserError(
        f"scene_field {name!r} is in none of the .inter, .item and .user files of {dataset.dataset_name}."
    )


def _behaviors(dataset, columns: LogColumns, extra) -> tuple[np.ndarray, int, Tensor]:
    """Behavior ids: 1 + label for samples; further ids for the behaviors of moveline files.

    A ``behavior_field`` of the .inter file is crossed with the label.
    """
    behavior = 1 + columns.label.astype(np.int64)
    field, n_kinds = dataset.config["behavior_field"], 1
    if field is not None:
        if field not in dataset.inter_feat or dataset.field2type[field] != FeatureType.TOKEN:
            raise UserError(
                f"behavior_field {field!r} must be a token column of {dataset.dataset_name}.inter."
            )
        kind = dataset.inter_feat[field].numpy()
        n_kinds = dataset.num(field)
        behavior = behavior + 2 * kind
    n_behaviors = 1 + 2 * n_kinds
    clicked = torch.zeros(n_behaviors, dtype=torch.bool)
    clicked[CLICKED::2] = True
    if extra is not None:
        codes, names = pd.factorize(extra["behavior"], sort=True)
        behavior = np.concatenate([behavior, n_behaviors + codes])
        n_behaviors += len(names)
        clicked = torch.cat([clicked, torch.zeros(len(names), dtype=torch.bool)])
    return behavior, n_behaviors, clicked


def _read_moveline_files(dataset) -> pd.DataFrame | None:
    """Unlabelled events of ``moveline_files``: columns user, item, timestamp, scene, behavior.

    File ``<dataset>.<name>``: user_id, timestamp, scene, behavior and optionally item_id with RecBole's
    typed headers. Events of users or items without samples are left out, or keep item 0.
    """
    names = dataset.config["moveline_files"]
    if not names:
        return None
    frames = [_read_moveline_file(dataset, name) for name in ([names] if isinstance(names, str) else names)]
    return pd.concat(frames, ignore_index=True)


def _read_moveline_file(dataset, name: str) -> pd.DataFrame:
    path = Path(dataset.dataset_path) / f"{dataset.dataset_name}.{name}"
    if not path.is_file():
        raise UserError(f"moveline_files names {name!r}, but {path} does not exist.")
    file = AtomicFile.of(path, dataset.config)
    columns, required = list(file.types), [dataset.uid_field, dataset.time_field, "scene", "behavior"]
    file.require(required, "moveline_files")
    file.check_lines()
    types = dict.fromkeys(columns, str) | {dataset.time_field: np.float64}
    try:
        frame = pd.read_csv(
            path, sep=file.separator, names=columns, skiprows=1, dtype=types, encoding=file.encoding,
            **missing_cells(types),
        )  # fmt: skip
    except ValueError as error:
        raise file.unreadable(error) from error
    file.check_values(frame, required, dataset.time_field)
    user = frame[dataset.uid_field].map(dataset.field2token_id[dataset.uid_field])
    item = pd.Series(0, index=frame.index)
    if dataset.iid_field in columns:
        item = frame[dataset.iid_field].map(dataset.field2token_id[dataset.iid_field]).fillna(0)
    known = user.notna()
    return pd.DataFrame(
        {
            "user": user[known].astype(np.int64),
            "item": item[known].astype(np.int64),
            "timestamp": _whole_seconds(frame[dataset.time_field][known].to_numpy()),
            "scene": frame["scene"][known],
            "behavior": frame["behavior"][known],
        }
    )
