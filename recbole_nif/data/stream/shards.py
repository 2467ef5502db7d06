"""A folder of Parquet shards: what lies in it, and how it is written and read.

    manifest.json           fields, the settings that made it, and for every shard its users, events and rows
    vocabulary.npz          what is known of ids: scenes, features of items and users, training clicks
    tokens/FIELD.parquet    the token of every id of a field, in order
    00000.parquet …         events of whole users, sorted as in an :class:`EventLog`

Columns of a shard: user, item, timestamp, label, rating, scene, behavior as in :class:`EventTable`; ``split``
(0 training, 1 validation, 2 test, -1 an event that is no sample); ``row_id``, the sample's number in the
dataset that the shards were made of; and ``context:NAME`` for every further feature of a sample.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recbole_nif.errors import UserError
from recbole_nif.files import written_whole

FORMAT = 1
MANIFEST, VOCABULARY, TOKENS = "manifest.json", "vocabulary.npz", "tokens"
SPLITS = ("train", "valid", "test")
CONTEXT = "context:"
ROW_GROUP = 1 << 20  # rows; one group is decoded at a time


@dataclass(frozen=True)
class Shard:
    """One file and what it holds; ``rows`` and ``clicks`` by split; ``checksum`` of its columns."""

    file: str
    users: int
    events: int
    rows: tuple[int, ...]
    clicks: tuple[int, ...]
    checksum: int | None = None  # None in manifests written before it was


@dataclass(frozen=True)
class FieldInfo:
    """A field as RecBole's dataset knows it.

    type: token, token_seq, float or float_seq; source: user_id, item_id, user, item or inter; size:
    ``dataset.num(name)``.
    """

    name: str
    type: str
    source: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """The manifest; ``keys`` are the configuration keys that decided what the shards hold."""

    dataset: str
    n_users: int  # ids, 0 = padding included
    n_items: int
    n_scenes: int
    n_behaviors: int
    keys: dict
    fields: tuple[FieldInfo, ...]
    shards: tuple[Shard, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of ``folder``.

        Raises:
            UserError: there is none, or it is of another format; a shard is missing.
        """
        path = Path(folder) / MANIFEST
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except OSError:
            raise UserError(
                f"{path} cannot be read: stream_shards names a folder that recbole-nif shards has written."
            ) from None
        except ValueError:
            raise UserError(f"{path} is not JSON: write the shards again.") from None
        if not isinstance(record, dict) or record.pop("format", None) != FORMAT:
            raise UserError(f"{path} is not of format {FORMAT}: write the shards again with this version.")
        record["fields"] = tuple(FieldInfo(**field) for field in record["fields"])
        record["shards"] = tuple(Shard(**shard) for shard in record["shards"])
        for shard in record["shards"]:
            if not (Path(folder) / shard.file).is_file():
                raise UserError(f"{Path(folder) / shard.file} is missing: write the shards again.")
        return cls(**record)

    def write(self, folder: Path) -> None:
        with written_whole(Path(folder) / MANIFEST) as temporary:
            temporary.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1), encoding="utf-8")


class ShardWriter:
    """Writes shard after shard, then the vocabulary and at last the manifest: without it nothing is read.

    Args:
        folder: new or empty.
        n_items: item ids, padding included.

    Raises:
        UserError: the folder holds files, or pyarrow is missing.
    """

    def __init__(self, folder: Path, n_items: int):
        self.folder, self.shards = Path(folder), []
        self.item_clicks = np.zeros(n_items, dtype=np.int64)  # in training
        self._parquet = _parquet()
        if self.folder.exists() and any(self.folder.iterdir()):
            raise UserError(f"{self.folder} is not empty: give a new folder for the shards, or remove it.")
        self.folder.mkdir(parents=True, exist_ok=True)

    def add(self, columns: Mapping[str, np.ndarray]) -> None:
        """Writes one shard: events of whole users, sorted; columns [N] or [N, S] as the module says."""
        import pyarrow as pa

        file = f"{len(self.shards):05d}.parquet"
        arrays = {name: _arrow(np.ascontiguousarray(values)) for name, values in columns.items()}
        with written_whole(self.folder / file) as temporary:
            table, options = pa.table(arrays), {"compression": "zstd", "use_dictionary": False}
            self._parquet.write_table(table, temporary, row_group_size=ROW_GROUP, **options)
        user, label, split = columns["user"], columns["label"], columns["split"]
        parts = [split == number for number in range(len(SPLITS))]
        self.shards.append(
            Shard(
                file=file,
                users=int((user[1:] != user[:-1]).sum()) + bool(len(user)),
                events=len(user),
                rows=tuple(int(part.sum()) for part in parts),
                clicks=tuple(int((part & (label == 1)).sum()) for part in parts),
                checksum=_checksum(columns),
            )
        )
        clicked = columns["item"][parts[0] & (label == 1)]
        self.item_clicks += np.bincount(clicked, minlength=len(self.item_clicks))

    def close(
        self, manifest: Manifest, vocabulary: Mapping[str, np.ndarray], tokens: Mapping[str, np.ndarray]
    ) -> None:
        """Writes what is known of ids, and the manifest with the shards added so far.

        Args:
            vocabulary: arrays as :class:`StreamedLog` reads them, but for ``item_clicks``.
            tokens: the token of every id, by field.
        """
        import pyarrow as pa

        (self.folder / TOKENS).mkdir(exist_ok=True)
        for field, names in tokens.items():
            table = pa.table({"token": pa.array([str(name) for name in names])})
            self._parquet.write_table(table, self.folder / TOKENS / f"{field}.parquet", compression="zstd")
        with written_whole(self.folder / VOCABULARY) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, item_clicks=self.item_clicks, **vocabulary)
        Manifest(**{**vars(manifest), "shards": tuple(self.shards)}).write(self.folder)


def read_shard(path: Path) -> dict[str, np.ndarray]:
    """All columns of a shard by name: [N], or [N, S] for sequences.

    Without threads of Arrow's, which a forked worker process would not have.
    """
    with _parquet().ParquetFile(path, pre_buffer=False) as file:
        table = file.read(use_threads=False)
    columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if hasattr(column.type, "list_size"):
            columns[name] = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, column.type.list_size)
        else:
            columns[name] = column.to_numpy(zero_copy_only=False)
    return columns


def read_vocabulary(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of ``vocabulary.npz``."""
    with np.load(Path(folder) / VOCABULARY, allow_pickle=False) as arrays:
        return dict(arrays)


def _checksum(columns: Mapping[str, np.ndarray]) -> int:
    """Of names and values, whatever bytes Parquet makes of them."""
    checksum = 0
    for name in sorted(columns):
        checksum = zlib.crc32(np.ascontiguousarray(columns[name]), zlib.crc32(name.encode(), checksum))
    return checksum


def _arrow(values: np.ndarray):
    import pyarrow as pa

    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _parquet():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(f"Shards need pyarrow ({error}): pip install 'recbole-nif[parquet]'.") from None
    return pyarrow.parquet
