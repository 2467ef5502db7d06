"""StreamedLog: what models and trainers ask of a dataset, for a log of which only chunks are in memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection
from pathlib import Path

import torch
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor

from recbole_nif.data import fields
from recbole_nif.data.history import HistoryReader
from recbole_nif.data.needs import Needs
from recbole_nif.data.rows import RowReader
from recbole_nif.data.scenes import SceneVocabulary
from recbole_nif.data.stream.chunks import Chunk, read_chunk
from recbole_nif.data.stream.shards import MANIFEST, SPLITS, Manifest, read_vocabulary
from recbole_nif.errors import UserError

# What decides which rows, columns, labels and splits shards hold; it must be as it was when they were made.
KEYS_OF_SHARDS = (
    "USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD", "RATING_FIELD", "TIME_FIELD", "threshold",
    "behavior_field", "numerical_features", "scene_field", "scene_mode", "moveline_files", "eval_args",
    "split_ties", "order_precision", "val_interval", "rm_dup_inter", "filter_inter_by_user_or_item",
    "user_inter_num_interval", "item_inter_num_interval", "load_col", "unload_col", "benchmark_filename",
)  # fmt: skip


class StreamedLog:
    """One split of a log in Parquet shards (``stream_shards``).

    It has the attributes of a :class:`CTRDataset` that tell of ids and features, but no rows: those are read
    chunk by chunk, see :meth:`view`. Histories, moveline windows and pairs work as in memory, since a shard
    holds whole users.

    Raises:
        UserError: no shards, keys that differ from those that made them, or an unsupported key.
    """

    def __init__(self, config, split: str = "train"):
        self.config, self.split, self.needs = config, split, Needs.of(config)
        self.folder = Path(config["stream_shards"])
        self.manifest = manifest = Manifest.read(self.folder)
        _check_keys(config, manifest)
        self.uid_field, self.iid_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.label_field, self.time_field = config["LABEL_FIELD"], config["TIME_FIELD"]
        self.dataset_name, self.n_duplicates = manifest.dataset, 0
        self.user_num, self.item_num = manifest.n_users, manifest.n_items
        self.field2type = {field.name: FeatureType(field.type) for field in manifest.fields}
        self.split_report: dict = {}
        self._read: dict[str, Chunk] = {}  # one for all splits
        arrays = {name: torch.from_numpy(values) for name, values in read_vocabulary(self.folder).items()}
        self.scenes = SceneVocabulary(arrays["scene_members"], manifest.n_scenes)
        self.n_behaviors, self.clicked_behaviors = manifest.n_behaviors, arrays["clicked_behaviors"]
        self.item_scene, self.train_item_count = arrays["item_scene"], arrays["item_clicks"]
        self.user_feat, self.item_feat = (
            Interaction(columns) if (columns := _columns(arrays, f"{kind}:")) else None
            for kind in ("user", "item")
        )

    def of_split(self, split: str) -> StreamedLog:
        """The same log, another split."""
        other = object.__new__(StreamedLog)
        other.__dict__.update(self.__dict__, split=split)
        return other

    def __len__(self) -> int:
        """Rows of the split, in all shards."""
        return self._sum("rows")

    def n_clicks(self) -> int:
        """Clicked rows of the split, in all shards."""
        return self._sum("clicks")

    def _sum(self, what: str) -> int:
        return sum(getattr(shard, what)[SPLITS.index(self.split)] for shard in self.manifest.shards)

    def num(self, field: str) -> int:
        """Ids of a token field, as RecBole's ``Dataset.num``."""
        return next(known.size for known in self.manifest.fields if known.name == field)

    def fields(self, ftype: Collection | None = None, source: Collection | None = None) -> list[str]:
        """As ``CTRDataset.fields``."""
        types, sources = set(ftype or FeatureType), set(source or FeatureSource)
        return [
            field.name
            for field in self.manifest.fields
            if FeatureType(field.type) in types
            and FeatureSource(field.source) in sources
            and (source is None or field.name != self.config["behavior_field"])
        ]

    def get_item_feature(self) -> Interaction:
        """Features of all items by id."""
        if self.item_feat is None:
            return Interaction({self.iid_field: torch.arange(self.item_num)})
        return self.item_feat

    def fingerprint(self) -> int:
        """A checksum of the manifest and so of the shards, by which a resumed run knows its data again."""
        return zlib.crc32((self.folder / MANIFEST).read_bytes())

    @property
    def semantic_ids(self):
        raise UserError("Semantic IDs are not made of shards: set flow_targets: id, or train in memory.")

    @property
    def strict(self) -> bool:
        """``history_ties: strict``."""
        return (self.config["history_ties"] or "strict") == "strict"

    @property
    def sample(self) -> Chunk:
        """The first shard, which stays in memory once it was asked for: what stage 1 is judged on."""
        if "sample" not in self._read:
            self._read["sample"] = read_chunk(self.folder, [self.manifest.shards[0].file], self.strict)
        return self._read["sample"]

    def view(self, chunk: Chunk) -> StreamedChunk:
        """The rows of this split in ``chunk``."""
        return StreamedChunk(self, chunk)

    def __str__(self) -> str:
        shards = self.manifest.shards
        return (
            f"{self.dataset_name} in {len(shards)} shards: {self.user_num - 1:,} users, "
            f"{self.item_num - 1:,} items, {sum(shard.events for shard in shards):,} events"
        )


class StreamedChunk(RowReader, StreamedLog):
    """A chunk as a view of labelled rows: what a :class:`CTRDataset` view is to a whole dataset.

    Args:
        log: whose split and ids it has.
        chunk: the events.
    """

    def __init__(self, log: StreamedLog, chunk: Chunk):
        self.__dict__.update(log.__dict__)
        self.chunk = chunk
        rows = torch.arange(len(chunk.user))
        self.train_rows = rows[chunk.split == SPLITS.index("train")]
        events = chunk.log
        if self.config["history_until"] == "train":
            events = events.freeze_after(self.train_rows)
        self.event_log = events
        position = events.position.long()
        self.all_rows = Interaction(
            {
                self.uid_field: chunk.user,
                self.iid_field: events.item[position].long(),
                self.label_field: events.label[position].float(),
                fields.ROW_ID: rows,
                **chunk.context,
            }
        )
        self.inter_feat = self._rows_of(rows[chunk.split == SPLITS.index(self.split)])
        self.history = HistoryReader(self)

    def __len__(self) -> int:
        return len(self.inter_feat)

    def copy(self, rows: Interaction) -> StreamedChunk:
        """A view of other rows of this chunk; ``rows`` has their ``ROW_ID``."""
        other = object.__new__(StreamedChunk)
        other.__dict__.update(self.__dict__, inter_feat=rows)
        return other


def _columns(arrays: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): column for name, column in arrays.items() if name.startswith(prefix)}


def keys_of_shards(config) -> dict:
    """The values of ``KEYS_OF_SHARDS``, as JSON holds them."""
    return json.loads(json.dumps({key: config[key] for key in KEYS_OF_SHARDS}))


def _check_keys(config, manifest: Manifest) -> None:
    given = keys_of_shards(config)
    for key, made_with in manifest.keys.items():
        if given[key] != made_with:
            raise UserError(
                f"{key} is {given[key]!r}, but the shards in {config['stream_shards']} were made with "
                f"{made_with!r}: set it to that, or write them again."
            )
    if not hasattr(config.model_class, "needs_moveline"):
        raise UserError(f"{config['model']} needs its dataset in memory: remove stream_shards.")
    if config["generator_cross_fit"] == "kfold":
        raise UserError("generator_cross_fit: kfold does not work with stream_shards: set it to none.")
    if config["flow_cache"] in ("memory", "memmap"):
        raise UserError("flow_cache holds the flows of all rows: with stream_shards set it to auto or none.")
