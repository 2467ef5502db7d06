"""The scene of an event that comes after training: learned from the events that the log has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from recbole_nif.data.log_builder import scene_fields, scenes_of_items
from recbole_nif.inference.columns import Columns

NO_SCENE = 0  # the empty set


@dataclass(frozen=True)
class SceneRule:
    """What the scene set of an event depends on.

    Attributes:
        fields: the columns that name scenes; none: all events have one scene.
        of_items: whether they are columns of the items.
        item_scene: [items], scene set by item; for added items it grows.
        of_users: tables of the fields that belong to users, [users, ...].
        known: columns of the known rows [R, ...] with their scene sets [R]: how values and sets belong
            together. Values that no row has are no scene.
    """

    fields: list[str]
    of_items: bool
    item_scene: np.ndarray
    of_users: dict[str, np.ndarray] = field(default_factory=dict)
    known: tuple[list[np.ndarray], np.ndarray] = ((), np.zeros(0))

    @classmethod
    def of_dataset(cls, dataset) -> SceneRule:
        """The rule of a built ``CTRDataset``."""
        names, item_scene = scene_fields(dataset.config), dataset.item_scene.numpy()
        if not names or scenes_of_items(dataset):
            features = [dataset.item_feat[name].numpy() for name in names]
            return cls(names, True, item_scene, known=(features, item_scene))
        log, rows = dataset.event_log, dataset.all_rows
        own = {name: rows[name].numpy() for name in names if name in rows}
        of_users = {name: dataset.user_feat[name].numpy() for name in names if name not in own}
        user = rows[dataset.uid_field].numpy()
        values = [own[name] if name in own else of_users[name][user] for name in names]
        return cls(names, False, item_scene, of_users, (values, log.scene[log.position.long()].numpy()))

    def __call__(self, item: np.ndarray, frame: pd.DataFrame, columns: Columns, user: int) -> np.ndarray:
        """Scene sets of events, [N]; item: [N] ids; user: the id of the user that they are of."""
        if self.of_items:
            return self.item_scene[item].astype(np.int64)
        values = []
        for name, known in zip(self.fields, self.known[0], strict=True):
            if name in self.of_users:
                values.append(np.repeat(self.of_users[name][user : user + 1], len(frame), axis=0))
            elif name in frame:
                values.append(columns.encode(name, frame[name], torch.from_numpy(known)).numpy())
            else:
                values.append(np.zeros((len(frame), *known.shape[1:]), dtype=np.int64))
        return self.sets(values)

    def distinct(self) -> SceneRule:
        """The same rule, with every combination of values in ``known`` once."""
        values, sets = self.known
        if not self.fields:
            return replace(self, known=((), np.zeros(0)))
        _, place = np.unique(_keys(values), axis=0, return_index=True)
        return replace(self, known=([column[place] for column in values], sets[place]))

    def sets(self, values: list[np.ndarray]) -> np.ndarray:
        """Scene sets by the values of the fields, each [N] or [N, S] -> [N]."""
        if not self.fields:
            return np.ones(len(values[0]) if values else 0, dtype=np.int64)
        keys = _keys(values)
        return np.array([self._learned.get(key.tobytes(), NO_SCENE) for key in keys], dtype=np.int64)

    @cached_property
    def _learned(self) -> dict[bytes, int]:
        values, sets = self.known
        keys, place = np.unique(_keys(values), axis=0, return_index=True)
        return {key.tobytes(): int(sets[row]) for key, row in zip(keys, place, strict=True)}


def _keys(values: list[np.ndarray]) -> np.ndarray:
    """One row of numbers per event, the members of a set in order, [N, C]."""
    columns = [np.sort(v, axis=1) if v.ndim == 2 else v[:, None] for v in values]
    return np.ascontiguousarray(np.concatenate(columns, axis=1), dtype=np.int64)
