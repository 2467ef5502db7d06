"""From a dataset in memory to a folder of shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from recbole.data.interaction import Interaction

from recbole_nif.data import fields
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.event_log import NO_ROW
from recbole_nif.data.stream.dataset import keys_of_shards
from recbole_nif.data.stream.shards import CONTEXT, FieldInfo, Manifest, ShardWriter
from recbole_nif.errors import UserError


def write_shards(views: list[CTRDataset], folder: Path, n_shards: int) -> Manifest:
    """Writes the log of a built dataset as ``n_shards`` shards of about equally many users.

    Args:
        views: its training, validation and test views.
        folder: new or empty.

    Raises:
        UserError: more shards than users, or a folder that holds files.
    """
    dataset, log = views[0], views[0].event_log
    n_users = dataset.user_num - 1
    if not 0 < n_shards <= n_users:
        raise UserError(f"--shards is {n_shards}: give a number from 1 to that of the users, {n_users:,}.")
    writer = ShardWriter(folder, dataset.item_num)
    shard_of_user = _dealt(dataset.user_num, n_shards, dataset.config["seed"])
    shard_of_event = shard_of_user[log.user.numpy()]
    columns = _columns(views)
    for number in range(n_shards):
        chosen = np.flatnonzero(shard_of_event == number)  # in the log's order
        writer.add({name: values[chosen] for name, values in columns.items()})
    writer.close(_manifest(dataset), _vocabulary(dataset), dataset.field2id_token)
    return Manifest.read(folder)


def _dealt(n_users: int, n_shards: int, seed: int) -> np.ndarray:
    """The shard of every user, by chance, so that every shard is a sample of the users."""
    return np.random.default_rng([seed, 6]).permutation(n_users) % n_shards


def _columns(views: list[CTRDataset]) -> dict[str, np.ndarray]:
    """The columns of a shard for the whole log, [N] each."""
    dataset, log = views[0], views[0].event_log
    rows = log.row_id.numpy()
    sample, split = rows != NO_ROW, np.full(len(rows), -1, dtype=np.int8)
    for number, view in enumerate(views):
        split[log.position[view.inter_feat[fields.ROW_ID]].numpy()] = number
    columns = {
        name: getattr(log, name).numpy()
        for name in ("user", "item", "timestamp", "label", "rating", "scene", "behavior")
    }
    columns |= {"split": np.where(sample, split, -1).astype(np.int8), "row_id": rows.astype(np.int64)}
    config = dataset.config
    no_features = {dataset.uid_field, dataset.iid_field, fields.ROW_ID} | fields.not_features(config)
    for name in dataset.all_rows.columns:
        if name not in no_features:
            values = dataset.all_rows[name].numpy()
            column = np.zeros((len(rows), *values.shape[1:]), dtype=values.dtype)
            column[sample] = values[rows[sample]]
            columns[CONTEXT + name] = column
    return columns


def _manifest(dataset: CTRDataset) -> Manifest:
    infos = [
        FieldInfo(name, kind.value, dataset.field2source[name].value, int(dataset.num(name)))
        for name, kind in dataset.field2type.items()
    ]
    return Manifest(
        dataset=dataset.dataset_name,
        n_users=dataset.user_num,
        n_items=dataset.item_num,
        n_scenes=dataset.scenes.n_scenes,
        n_behaviors=dataset.n_behaviors,
        keys=keys_of_shards(dataset.config),
        fields=tuple(infos),
    )


def _vocabulary(dataset: CTRDataset) -> dict[str, np.ndarray]:
    arrays = {
        "scene_members": dataset.scenes.members,
        "clicked_behaviors": dataset.clicked_behaviors,
        "item_scene": dataset.item_scene,
    }
    for kind, feature in (("user", dataset.user_feat), ("item", dataset.item_feat)):
        if isinstance(feature, Interaction):
            arrays |= {f"{kind}:{name}": feature[name] for name in feature.columns}
    return {name: torch.as_tensor(values).numpy() for name, values in arrays.items()}
