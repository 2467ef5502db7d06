"""What a value may be where its key's default does not tell: declared kinds, limits, intervals, mappings."""

import math
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from recbole_nif.resources import props_dir, recbole_properties_dir

KINDS_BY_NAME = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
# Lines such as "key: value  # (str or list) Text."
_DECLARATION = re.compile(r"^(\w+):.*?#\s*\((\w+(?: or \w+)*)[ )]", re.MULTILINE)
_INTERVAL = re.compile(r"[\[(]\s*([-+\w.]+)\s*,\s*([-+\w.]+)\s*[\])]")

# What values must be, in words and as a test, by the end of their keys; a list's items are tested one by one.
LIMITS: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    ("at least 1", lambda value: value >= 1, (
        "batch_size", "embedding_size", "hidden_size", "n_heads", "flow_len", "rows_per_window", "log_every",
        "MAX_ITEM_LIST_LENGTH", "moveline_length", "moveline_stride", "scene_hash_size", "nce_in_batch",
        "pretrain_eval_rows", "tsp_neighbors", "click_horizon", "code_levels", "codebook_size",
        "collision_codes",
        "rqvae_steps", "rqvae_pca_size", "rqvae_code_dim", "head_size", "inner_size", "attention_heads",
        "beam_width", "encoder_layers", "decoder_layers", "history_stride", "cross_rank", "stream_buffer",
        "stream_eval_shards", "sparse_adam_rows", "save_step",
    )),
    ("at least 2", lambda value: value >= 2, ("cross_fit_folds",)),
    ("at least 0", lambda value: value >= 0, (
        "epochs", "stopping_step", "eval_step", "learning_rate", "weight_decay", "worker", "n_layers",
        "cross_layers", "nce_uniform", "nce_hard_negatives", "lambda_tsp", "lambda_align", "lambda_div",
        "lambda_vel", "lambda_click", "lambda_ntp", "lambda_sr", "flow_cache_memory_mb",
    )),
    ("above 0", lambda value: value > 0, ("temperature", "tsp_window", "max_norm")),
    ("between 0 and 1", lambda value: 0 <= value <= 1, ("dropout_prob", "flow_dropout_prob", "tsp_ratio")),
    ("at least 0 and below 1", lambda value: 0 <= value < 1, ("ema_decay",)),
    ("between 0 and 4294967295", lambda value: 0 <= value < 2**32, ("seed",)),
)  # fmt: skip

INTERVAL = 'an interval such as "[1,5)", or several joined by ";"'
INTERVAL_KEYS = ("user_inter_num_interval", "item_inter_num_interval")
MAPPING_KINDS = {  # kinds of the values in mappings of any keys
    "threshold": ((int, float), "a number"),
    "val_interval": ((str, list), f"{INTERVAL}, or a list of tokens"),
    "load_col": ((str, list), "a list of columns or '*'"),
    "unload_col": ((list,), "a list of columns"),
    "unused_col": ((list,), "a list of columns"),
    "seq_len": ((int,), "a whole number"),
}
ENTRY_KINDS = {  # kinds of single values in mappings
    "clip_grad_norm.max_norm": ((int, float), "a number"),
    "clip_grad_norm.norm_type": ((int, float), "a number"),
    "clip_grad_norm.error_if_nonfinite": ((bool,), "True or False"),
    "clip_grad_norm.foreach": ((bool, type(None)), "True, False or null"),
}


@cache
def declared_kinds() -> dict[str, tuple[type, ...]]:
    """The kinds that comments such as ``# (str or list)`` in RecBole's YAML and ours promise, by key."""
    recbole = recbole_properties_dir()
    files = [recbole / "overall.yaml", recbole / "dataset" / "sample.yaml", props_dir() / "overall.yaml"]
    files += sorted((props_dir() / "model").glob("*.yaml"))
    return {
        key: tuple(KINDS_BY_NAME[word] for word in words.split(" or ") if word in KINDS_BY_NAME)
        for path in files
        for key, words in _DECLARATION.findall(path.read_text(encoding="utf-8"))
    }


def objection(key: str, value: Any) -> str | None:
    """What a value of the right kind must be beyond that, in words, or None if it is.

    Args:
        key: dotted path, such as ``threshold.rating``.
        value: as the user gave it.
    """
    parent, _, leaf = key.rpartition(".")
    if told := MAPPING_KINDS.get(parent) or ENTRY_KINDS.get(key):
        kinds, words = told
        if type(value) not in kinds or (parent == "load_col" and isinstance(value, str) and value != "*"):
            return words
    spelled = leaf in INTERVAL_KEYS or parent == "val_interval"
    if spelled and isinstance(value, str) and not _intervals(value):
        return INTERVAL
    if leaf == "attention_mlp_hidden_size" and value == []:
        return "a list of one width or more"
    numbers = [item for item in (value if isinstance(value, list) else [value]) if type(item) in (int, float)]
    for words, holds, endings in LIMITS:
        if leaf.endswith(endings) and not all(map(holds, numbers)):
            return words
    return None if parent or all(map(math.isfinite, numbers)) else "a finite number"


def _intervals(text: str) -> bool:
    """Whether RecBole reads all of a text as intervals; it skips over what it cannot read."""
    try:
        found = [_INTERVAL.fullmatch(part.strip()) for part in text.split(";")]
        return all(match and float(match[1]) <= float(match[2]) for match in found)
    except ValueError:
        return False
