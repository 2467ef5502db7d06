"""``ServingData`` as files and back: tables and events as tensors, vocabularies and rules as JSON.

columns.json              types and order of the columns, what requests are read by
vocabulary.json           tokens by id of every column, titles, names of scenes
tables.safetensors        features of users and items, scenes, numbers, counts
events.safetensors        the log, unless it was left out
semantic_ids.json, .safetensors   codes of the items and their quantizer, where the model reads them
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_nif.analysis.names import Names
from recbole_nif.data.event_log import EventLog
from recbole_nif.data.log_builder import MovelineNames
from recbole_nif.data.needs import Needs
from recbole_nif.export.catalog import Catalog, columns_of, restored_columns, store_columns
from recbole_nif.export.files import read_tensors, read_values, write_tensors, write_values
from recbole_nif.inference.columns import Columns, NumberRule
from recbole_nif.inference.events import EventRule, Events, joined
from recbole_nif.inference.scene_rule import SceneRule
from recbole_nif.inference.serving_data import ServingData
from recbole_nif.inference.user_log import log_of
from recbole_nif.semantic_id.codes import SemanticIds
from recbole_nif.semantic_id.quantizer import QuantizerSettings
from recbole_nif.semantic_id.quantizer_file import FittedQuantizer

COLUMNS, VOCABULARY, TABLES, EVENTS = (
    "columns.json", "vocabulary.json", "tables.safetensors", "events.safetensors",
)  # fmt: skip
CODES, CODES_OF = "semantic_ids.safetensors", "semantic_ids.json"
OF_EVENTS = ("item", "timestamp", "label", "rating", "scene", "behavior")


def write_data(folder: Path, data: ServingData, dataset, *, with_log: bool) -> None:
    """Writes what scoring and building the model need.

    Args:
        data: as it was made of ``dataset``: a built ``CTRDataset``.
        with_log: whether the events come along.
    """
    rule, names, columns = data.rule, data.names, data.columns
    scenes = rule.scenes.distinct()
    write_values(
        folder / COLUMNS,
        {
            "columns": store_columns(columns_of(dataset)),
            "kinds": {name: kind.value for name, kind in columns.kinds.items()},
            **{table: list(getattr(data, table)) for table in ("users", "items", "context")},
            "numbers": {
                name: {"cut": number.cut, "mean": number.mean} for name, number in columns.numbers.items()
            },
            "timed": rule.time is not None,
            "strict": data.log.strict,
            "moveline": rule.moveline and asdict(rule.moveline),
            "scenes": {
                "fields": scenes.fields,
                "of_items": scenes.of_items,
                "of_users": list(scenes.of_users),
            },
        },
    )
    titles = None if names.titles is names.items else names.titles
    tokens = {name: values.tolist() for name, values in columns.tokens.items()}
    write_values(folder / VOCABULARY, {"tokens": tokens, "titles": titles, "scenes": names.scenes})
    write_tensors(folder / TABLES, _tables(data, scenes, dataset.clicked_behaviors))
    if with_log:
        write_tensors(folder / EVENTS, _events(data.log))
    if data.semantic_ids is not None:
        _write_codes(folder, data.semantic_ids)


def read_data(folder: Path, config, *, with_log: bool) -> tuple[ServingData, Catalog]:
    """What :func:`write_data` wrote, and what stands for the dataset where a model is built.

    Args:
        config: of the run.
        with_log: as it was written.

    Raises:
        UserError: a file is missing or damaged.
    """
    told, words, tables = (
        read_values(folder / COLUMNS), read_values(folder / VOCABULARY), read_tensors(folder / TABLES),
    )  # fmt: skip
    features = {
        table: {name: tables[f"{table}.{name}"] for name in told[table]}
        for table in ("users", "items", "context")
    }
    items, n_users = words["tokens"][config["ITEM_ID_FIELD"]], len(features["users"][config["USER_ID_FIELD"]])
    numbers = {
        name: NumberRule(
            tables[f"numbers.{name}.raw"].numpy(), tables[f"numbers.{name}.stored"].numpy(), **rule
        )
        for name, rule in told["numbers"].items()
    }
    needs = Needs.of(config)
    data = ServingData(
        config=config,
        needs=replace(needs, pairs=False),
        columns=Columns(
            kinds={name: FeatureType(kind) for name, kind in told["kinds"].items()},
            tokens=words["tokens"],
            numbers=numbers,
            separator=config["seq_separator"],
        ),
        **features,
        rule=EventRule.of(
            config,
            _scene_rule(told["scenes"], tables, features["users"]),
            timed=told["timed"],
            moveline=told.get("moveline") and MovelineNames(**told["moveline"]),
        ),
        log=_log(folder, n_users, told["strict"], with_log=with_log),
        event_items=tables["event_items"].numpy(),
        item_rank=tables["item_rank"].numpy(),
        item_clicks=tables["item_clicks"],
        semantic_ids=_read_codes(folder) if needs.semantic_ids else None,
        names=Names(items, words["titles"], tables["scenes.members"], words["scenes"]),
        has_events=with_log,
    )
    return data, Catalog(restored_columns(told["columns"]), tables["clicked_behaviors"], data)


def _tables(data: ServingData, scenes: SceneRule, clicked_behaviors: Tensor) -> dict[str, Tensor]:
    tables = {
        f"{table}.{name}": column
        for table in ("users", "items", "context")
        for name, column in getattr(data, table).items()
    }
    for name, number in data.columns.numbers.items():
        tables[f"numbers.{name}.raw"] = torch.from_numpy(number.raw)
        tables[f"numbers.{name}.stored"] = torch.from_numpy(number.stored)
    values, sets = scenes.known
    for place, column in enumerate(values):
        tables[f"scenes.known.{place}"] = torch.from_numpy(column)
    return tables | {
        "scenes.sets": torch.from_numpy(sets),
        "scenes.of_item": data.item_scene,
        "scenes.members": data.names.members,
        "clicked_behaviors": clicked_behaviors,
        "event_items": torch.from_numpy(data.event_items),
        "item_rank": torch.from_numpy(data.item_rank),
        "item_clicks": data.item_clicks,
    }


def _scene_rule(told: Mapping, tables: Mapping[str, Tensor], users: Mapping[str, Tensor]) -> SceneRule:
    known = [tables[f"scenes.known.{place}"].numpy() for place in range(len(told["fields"]))]
    return SceneRule(
        fields=told["fields"],
        of_items=told["of_items"],
        item_scene=tables["scenes.of_item"].numpy(),
        of_users={name: users[name].numpy() for name in told["of_users"]},
        known=(known, tables["scenes.sets"].numpy()),
    )


def _events(log: EventLog) -> dict[str, Tensor]:
    frozen = {} if log.frozen_end is None else {"frozen_end": log.frozen_end}
    return {name: getattr(log, name) for name in OF_EVENTS} | {"offsets": log.offsets} | frozen


def _log(folder: Path, n_users: int, strict: bool, *, with_log: bool) -> EventLog:
    if not with_log:
        return log_of(np.zeros(0, dtype=np.int64), joined([]), n_users, strict)
    stored = read_tensors(folder / EVENTS)
    owner = np.repeat(np.arange(n_users), np.diff(stored["offsets"].numpy()))
    log = log_of(owner, Events(*(stored[name].numpy() for name in OF_EVENTS)), n_users, strict)
    return replace(log, frozen_end=stored.get("frozen_end"))


def _write_codes(folder: Path, ids: SemanticIds) -> None:
    tensors, quantizer = {"codes": ids.codes}, ids.quantizer
    if quantizer is not None:
        state = quantizer.module.state_dict()
        tensors |= {f"quantizer.{name}": values for name, values in state.items()}
    told = quantizer and {
        "settings": quantizer.settings.key(),
        "sizes": list(quantizer.sizes),
        "vectors_of": quantizer.vectors_of,
    }
    write_tensors(folder / CODES, tensors)
    write_values(folder / CODES_OF, {"sizes": list(ids.sizes), "quantizer": told})


def _read_codes(folder: Path) -> SemanticIds:
    told, tensors = read_values(folder / CODES_OF), read_tensors(folder / CODES)
    quantizer = None
    if told["quantizer"]:
        prefix, of = "quantizer.", told["quantizer"]
        state = {name[len(prefix) :]: values for name, values in tensors.items() if name.startswith(prefix)}
        settings = QuantizerSettings.of(of["settings"])
        quantizer = FittedQuantizer.restored(settings, of["sizes"], of["vectors_of"], state)
    return SemanticIds(tensors["codes"], tuple(told["sizes"]), quantizer=quantizer)
