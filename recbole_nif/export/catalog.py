"""What models ask of a dataset when they are built, without the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor

from recbole_nif.data.scenes import SceneVocabulary
from recbole_nif.errors import UserError
from recbole_nif.inference.serving_data import ServingData


@dataclass(frozen=True)
class Column:
    """A column of the data: its type, the file it is of, and RecBole's ``dataset.num`` of it."""

    kind: FeatureType
    source: FeatureSource
    size: int


class NotStored(UserError, AttributeError):
    """A model asks for what no export holds."""


class Catalog:
    """Stands for a ``CTRDataset`` where a trained model is built to take its weights.

    Args:
        columns: of the data's files, by name, in the dataset's order.
        clicked_behaviors: [behaviors] bool.
        data: the rest.
    """

    def __init__(self, columns: Mapping[str, Column], clicked_behaviors: Tensor, data: ServingData):
        self._columns, self._data, config = dict(columns), data, data.config
        self.config, self.needs, self.semantic_ids = config, data.needs, data.semantic_ids
        self.dataset_name = config["dataset"]
        self.uid_field, self.iid_field = data.user_field, data.item_field
        self.label_field, self.time_field = data.rule.label, data.rule.time
        self.field2type = {name: column.kind for name, column in columns.items()}
        self.field2source = {name: column.source for name, column in columns.items()}
        self.user_num, self.item_num = len(data.users[self.uid_field]), data.n_items
        self.scenes = SceneVocabulary(data.names.members, len(data.names.scenes))
        self.item_scene, self.train_item_count = data.item_scene, data.item_clicks
        self.clicked_behaviors, self.n_behaviors = clicked_behaviors, len(clicked_behaviors)

    def fields(
        self, ftype: Iterable[FeatureType] | None = None, source: Iterable[FeatureSource] | None = None
    ) -> list[str]:
        """Names of the columns of some types and files; None = any."""
        kinds, sources = set(ftype or FeatureType), set(source or FeatureSource)
        return [
            name
            for name, column in self._columns.items()
            if column.kind in kinds and column.source in sources
        ]

    def num(self, field: str) -> int:
        """As RecBole's: rows of an embedding table of a column."""
        return self._columns[field].size

    def get_user_feature(self) -> Interaction:
        return Interaction(self._data.users)

    def get_item_feature(self) -> Interaction:
        return Interaction(self._data.items)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by Python itself, such as for a copy
            raise AttributeError(name)
        raise NotStored(
            f"{self.config['model_name']} is built with dataset.{name}, which no export holds: serve the "
            "folder of its run instead."
        )


def columns_of(dataset) -> dict[str, Column]:
    """The columns of a built ``CTRDataset``."""
    return {
        name: Column(kind, dataset.field2source[name], int(dataset.num(name)))
        for name, kind in dataset.field2type.items()
    }


def store_columns(columns: Mapping[str, Column]) -> list[list]:
    """As JSON's types."""
    return [[name, column.kind.value, column.source.value, column.size] for name, column in columns.items()]


def restored_columns(stored: Iterable[Iterable]) -> dict[str, Column]:
    """What :func:`store_columns` was given."""
    return {
        name: Column(FeatureType(kind), FeatureSource(source), size) for name, kind, source, size in stored
    }
