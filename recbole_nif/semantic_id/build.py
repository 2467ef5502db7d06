"""From a dataset to its semantic IDs: read from a file, or texts -> vectors -> codes -> collision digit.

Vectors, codes and quantizer are cached by the hash of all that they depend on, below ``semantic_id_cache``.
Items that a file of IDs does not know get theirs from the quantizer that lies beside it; all others keep
theirs, where a new fit would name every item anew.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_nif.errors import UserError
from recbole_nif.semantic_id.cache import array_hash, cached_arrays
from recbole_nif.semantic_id.codes import NO_CODE, SIZE, SemanticIds
from recbole_nif.semantic_id.encoders import SentenceEncoder
from recbole_nif.semantic_id.features import FEATURES, LABEL, feature_vectors
from recbole_nif.semantic_id.health import (
    categorical_field,
    health_report,
    log_health,
    stop_if_collapsed,
    values_of,
)
from recbole_nif.semantic_id.quantizer import QuantizerSettings, quantize
from recbole_nif.semantic_id.quantizer_file import IDS, FittedQuantizer, quantizer_beside
from recbole_nif.semantic_id.text import item_texts

STATE = "quantizer."  # before the names of its tensors in the cached file
CACHE = ".semantic_ids"  # below checkpoint_dir; the dot keeps it out of saved/*
VERSION = 2  # of what a cached file holds and how it is made
logger = logging.getLogger(__name__)


def semantic_ids_of(config, dataset) -> SemanticIds:
    """The semantic IDs of all items of a built dataset, by the keys of "Semantic IDs" in props/overall.yaml.

    The quantizer is fitted on the items of the training split; all others are encoded by it too.

    Args:
        config: the run's configuration.
        dataset: a built ``CTRDataset``, any of its views.

    Returns:
        IDs whose ``facts`` say how they came about, with a health report, and whose ``quantizer``, but with
        ``text_encoder: features``, encodes further items.

    Raises:
        UserError: a wrong file or template, an encoder that cannot be loaded, a codebook that has collapsed,
            more collisions than digits.
    """
    if config["semantic_ids"]:
        return _read(config, dataset, Path(config["semantic_ids"]))
    vectors, vectors_of, facts = _vectors(config, dataset, range(1, dataset.item_num))
    fitted = _items_of_training(dataset)[1:]
    settings = QuantizerSettings.of(config)

    def make() -> dict[str, np.ndarray]:
        started = time.perf_counter()
        made = quantize(settings, vectors, fitted)
        errors = [made.error(vectors, rows) for rows in (fitted, ~fitted)]
        return {
            "codes": made.codes,
            "sizes": np.array(made.sizes),
            "errors": np.array([np.nan if error is None else error for error in errors]),
            "seconds": np.array(time.perf_counter() - started),
            **{STATE + name: values.numpy() for name, values in made.quantizer.state_dict().items()},
        }

    key = [VERSION, array_hash(vectors), array_hash(fitted), settings.key()]
    stored, facts["cached"]["quantizer"] = cached_arrays(_cache(config), "codes", key, make)
    codes = F.pad(torch.from_numpy(stored["codes"]), (0, 0, 1, 0), value=NO_CODE)  # [n_items, N-1]
    sizes = tuple(stored["sizes"].tolist())
    ids = SemanticIds.with_digit(codes, sizes, config["collision_codes"] or SIZE)
    error, error_unseen = (None if np.isnan(value) else float(value) for value in stored["errors"])
    facts["seconds"]["quantizer"] = float(stored["seconds"])
    facts["quantizer"] = {name: value for name, value in settings.key().items() if value is not None}
    facts["fitted_items"] = int(fitted.sum())
    facts["health"] = _health(config, dataset, ids) | {
        "reconstruction_error": error,
        "reconstruction_error_unseen": error_unseen,
    }
    log_health(facts)
    stop_if_collapsed(facts["health"])
    if vectors_of["text_encoder"] == FEATURES:  # they change as a whole when items come
        return replace(ids, facts=facts)
    state = {name[len(STATE) :]: values for name, values in stored.items() if name.startswith(STATE)}
    state = {name: torch.from_numpy(values) for name, values in state.items()}
    quantizer = FittedQuantizer.restored(settings, sizes, vectors_of, state)
    return replace(ids, facts=facts, quantizer=quantizer)


def write_ids(config, dataset, folder: Path) -> None:
    """Writes the IDs of a dataset to ``<folder>/<dataset>.sem_ids.json``, and beside it their quantizer.

    Raises:
        UserError: they cannot be written.
    """
    path, ids = folder / f"{config['dataset']}{IDS}", dataset.semantic_ids
    try:
        ids.write(path, dataset.field2id_token[dataset.iid_field])
        if ids.quantizer is not None:
            ids.quantizer.write(quantizer_beside(path))
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise UserError(f"Cannot write {path} ({reason}): free space, then go on with --resume.") from None


def _read(config, dataset, path: Path) -> SemanticIds:
    """The IDs of a file; whatever their health, they are the user's choice."""
    tokens = [str(token) for token in dataset.field2id_token[dataset.iid_field]]
    beside = quantizer_beside(path)
    quantizer = FittedQuantizer.read(beside) if beside.is_file() else None
    if quantizer is None:
        encode, size = None, QuantizerSettings.of(config).size(int(_items_of_training(dataset).sum()))
    else:
        encode, size = partial(_encode_further, config, dataset, quantizer, beside), max(quantizer.sizes)
    ids = SemanticIds.read(path, tokens, size, config["collision_codes"] or SIZE, encode)
    logger.info("semantic IDs of the file %s", path)
    facts = ids.facts | {"health": _health(config, dataset, ids)}
    log_health(facts)
    return replace(ids, facts=facts, quantizer=quantizer)


def codes_of_texts(config, quantizer: FittedQuantizer, texts: Sequence[str]) -> Tensor:
    """Codes of items by their texts and a run's quantizer: [m, N-1] int64.

    Raises:
        UserError: the text encoder cannot be loaded, or is not the one of the quantizer.
    """
    encoder = SentenceEncoder(config["text_encoder"], config["device"], config["text_batch_size"] or 32)
    if quantizer.vectors_of.get("text_encoder") != encoder.identity:
        raise UserError(
            f"text_encoder {config['text_encoder']} is not the one of the run's semantic IDs: give that one."
        )
    return quantizer.encode(encoder.encode(list(texts)))


def _encode_further(
    config, dataset, quantizer: FittedQuantizer, path: Path, rows: Sequence[int], n_levels: int
) -> Tensor:
    """Codes of items that a file of IDs lacks, by the quantizer of the others: [m, n_levels] int64.

    Raises:
        UserError: the quantizer is of other IDs, or of other vectors than this configuration makes.
    """
    if len(quantizer.sizes) != n_levels:
        raise UserError(
            f"{path} makes {len(quantizer.sizes)} codes per item, but the IDs beside it have {n_levels} and "
            "the digit: use the two files of one run."
        )
    vectors, vectors_of, _ = _vectors(config, dataset, rows)
    for key, value in quantizer.vectors_of.items():
        if vectors_of.get(key) != value:
            raise UserError(
                f"{path} was fitted with another {key}: give that one, or remove semantic_ids to make all "
                "IDs anew."
            )
    return quantizer.encode(vectors)


def _vectors(config, dataset, rows: Sequence[int]) -> tuple[np.ndarray, dict[str, str], dict]:
    """An embedding for each of the items ``rows``, [n, d] float32; what makes them; and facts for reports."""
    if config["text_encoder"] == FEATURES:
        logger.info("semantic IDs without a language model: %s", LABEL)
        started = time.perf_counter()
        vectors = feature_vectors(dataset, config["seed"])[list(rows)]
        seconds = {"text": time.perf_counter() - started}
        facts = {"source": LABEL, "seconds": seconds, "cached": {"text": False}}
        return vectors, {"text_encoder": FEATURES}, facts
    encoder = SentenceEncoder(config["text_encoder"], config["device"], config["text_batch_size"] or 32)
    every = item_texts(config, dataset)
    texts = [every[row] for row in rows]
    different, which = np.unique(np.array(texts, dtype=object), return_inverse=True)

    def make() -> dict[str, np.ndarray]:
        logger.info("encoding %d item texts by %s, such as %r", len(different), encoder.label, texts[0])
        started = time.perf_counter()
        vectors = encoder.encode(different.tolist())
        return {"vectors": vectors, "seconds": np.array(time.perf_counter() - started)}

    key = [VERSION, encoder.identity, different.tolist()]
    stored, cached = cached_arrays(_cache(config), "texts", key, make)
    facts = {
        "source": encoder.label,
        "item_text": config["item_text"],
        "different_texts": len(different),
        "empty_texts": sum(not text for text in texts),
        "seconds": {"text": float(stored["seconds"])},
        "cached": {"text": cached},
    }
    vectors_of = {"text_encoder": encoder.identity, "item_text": config["item_text"]}
    return stored["vectors"][which], vectors_of, facts


def _items_of_training(dataset) -> np.ndarray:
    """[n_items] bool, the items of the training split's rows, clicked or not."""
    log = dataset.event_log
    seen = np.zeros(dataset.item_num, dtype=bool)
    seen[log.item[log.position[dataset.train_rows].long()].long().numpy()] = True
    return seen


def _health(config, dataset, ids: SemanticIds) -> dict:
    field = categorical_field(config, dataset)
    return health_report(ids, values_of(dataset, field), field, config["seed"])


def _cache(config) -> Path:
    return Path(config["semantic_id_cache"] or Path(config["checkpoint_dir"] or "saved", CACHE))
