"""From a dataset to its semantic IDs: read from a file, or texts -> vectors -> codes -> collision digit.

Vectors and codes are cached by the hash of all that they depend on, below ``semantic_id_cache``.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from recbole_nif.errors import UserError
from recbole_nif.semantic_id.cache import array_hash, cached_arrays
from recbole_nif.semantic_id.codes import NO_CODE, SIZE, SemanticIds
from recbole_nif.semantic_id.encoders import SentenceEncoder
from recbole_nif.semantic_id.features import FEATURES, LABEL, feature_vectors
from recbole_nif.semantic_id.health import (
    categorical_field,
    health_report,
    log_health,
    memberships_of,
    stop_if_collapsed,
)
from recbole_nif.semantic_id.quantizer import QuantizerSettings, quantize
from recbole_nif.semantic_id.text import item_texts

CACHE = ".semantic_ids"  # below checkpoint_dir; the dot keeps it out of saved/*
VERSION = 1  # of what a cached file holds and how it is made
logger = logging.getLogger(__name__)


def semantic_ids_of(config, dataset) -> SemanticIds:
    """The semantic IDs of all items of a built dataset, by the keys of "Semantic IDs" in props/overall.yaml.

    The quantizer is fitted on the items of the training split; all others are encoded by it too.

    Args:
        config: the run's configuration.
        dataset: a built ``CTRDataset``, any of its views.

    Returns:
        IDs whose ``facts`` say how they came about, with a health report.

    Raises:
        UserError: a wrong file or template, an encoder that cannot be loaded, a codebook that has collapsed,
            more collisions than digits.
    """
    if config["semantic_ids"]:
        return _read(config, dataset)
    vectors, facts = _vectors(config, dataset)
    fitted = _items_of_training(dataset)
    settings = QuantizerSettings.of(config)

    def make() -> dict[str, np.ndarray]:
        started = time.perf_counter()
        made = quantize(settings, vectors[1:], fitted[1:])
        errors = [made.error(vectors[1:], rows) for rows in (fitted[1:], ~fitted[1:])]
        return {
            "codes": made.codes,
            "sizes": np.array(made.sizes),
            "errors": np.array([np.nan if error is None else error for error in errors]),
            "seconds": np.array(time.perf_counter() - started),
        }

    key = [VERSION, array_hash(vectors), array_hash(fitted), settings.key()]
    stored, facts["cached"]["quantizer"] = cached_arrays(_cache(config), "codes", key, make)
    codes = F.pad(torch.from_numpy(stored["codes"]), (0, 0, 1, 0), value=NO_CODE)  # [n_items, N-1]
    ids = SemanticIds.with_digit(codes, stored["sizes"].tolist(), config["collision_codes"] or SIZE)
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
    return replace(ids, facts=facts)


def write_ids(config, dataset, folder: Path) -> None:
    """Writes the IDs of a dataset to ``<folder>/<dataset>.sem_ids.json``.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / f"{config['dataset']}.sem_ids.json"
    try:
        dataset.semantic_ids.write(path, dataset.field2id_token[dataset.iid_field])
    except OSError as error:
        raise UserError(
            f"Cannot write {path} ({error.strerror}): free space, then go on with --resume."
        ) from None


def _read(config, dataset) -> SemanticIds:
    """The IDs of a file; whatever their health, they are the user's choice."""
    tokens = [str(token) for token in dataset.field2id_token[dataset.iid_field]]
    ids = SemanticIds.read(config["semantic_ids"], tokens, config["codebook_size"] or SIZE)
    logger.info("semantic IDs of the file %s", config["semantic_ids"])
    facts = ids.facts | {"health": _health(config, dataset, ids)}
    log_health(facts)
    return replace(ids, facts=facts)


def _vectors(config, dataset) -> tuple[np.ndarray, dict]:
    """An embedding per item id, [n_items, d] float32, and the facts about it; the padding item's is zero."""
    if config["text_encoder"] == FEATURES:
        logger.info("semantic IDs without a language model: %s", LABEL)
        started = time.perf_counter()
        vectors = feature_vectors(dataset, config["seed"])
        seconds = {"text": time.perf_counter() - started}
        return vectors, {"source": LABEL, "seconds": seconds, "cached": {"text": False}}
    encoder = SentenceEncoder(config["text_encoder"], config["device"], config["text_batch_size"] or 32)
    texts = item_texts(config, dataset)
    different, which = np.unique(np.array(texts[1:], dtype=object), return_inverse=True)

    def make() -> dict[str, np.ndarray]:
        logger.info("encoding %d item texts by %s, such as %r", len(different), encoder.label, texts[1])
        started = time.perf_counter()
        vectors = encoder.encode(different.tolist())
        return {"vectors": vectors, "seconds": np.array(time.perf_counter() - started)}

    key = [VERSION, encoder.identity, different.tolist()]
    stored, cached = cached_arrays(_cache(config), "texts", key, make)
    vectors = np.concatenate([np.zeros_like(stored["vectors"][:1]), stored["vectors"][which]])
    return vectors, {
        "source": encoder.label,
        "item_text": config["item_text"],
        "different_texts": len(different),
        "empty_texts": sum(not text for text in texts[1:]),
        "seconds": {"text": float(stored["seconds"])},
        "cached": {"text": cached},
    }


def _items_of_training(dataset) -> np.ndarray:
    """[n_items] bool, the items of the training split's rows, clicked or not."""
    log = dataset.event_log
    seen = np.zeros(dataset.item_num, dtype=bool)
    seen[log.item[log.position[dataset.train_rows].long()].long().numpy()] = True
    return seen


def _health(config, dataset, ids: SemanticIds) -> dict:
    field = categorical_field(config, dataset)
    return health_report(ids, memberships_of(dataset, field), field, config["seed"])


def _cache(config) -> Path:
    return Path(config["semantic_id_cache"] or Path(config["checkpoint_dir"] or "saved", CACHE))
