"""What a run is called: by its model and by the settings that differ from the defaults on its data."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from recbole_nif.config_keys import DATA_KEYS
from recbole_nif.config_layers import changed_values, default_layers, merge_layers
from recbole_nif.registry import resolve_model

# Said by the heading of a table
IN_HEADING = {
    "eval_args", "split_preset", "split_ties", "order_precision", "history_ties", "history_until",
    "gauc_weight",
}  # fmt: skip
# Without influence on what is learned and how well it scores
INDIFFERENT = {
    "seed", "device", "use_gpu", "gpu_id", "worker", "state", "show_progress", "log_every", "log_wandb",
    "wandb_project", "tensorboard", "save_step", "metrics", "eval_batch_size", "flow_cache",
    "flow_cache_memory_mb", "encoding",
}  # fmt: skip

# Names of files and folders, which say nothing of what they hold
PLACES = {
    "data_path",
    "checkpoint_dir",
    "run_dir",
    "pretrained_generator",
    "pretrain_cache",
    "model_file",
    "semantic_ids",
    "resume",
}


def settings_of(model: str, dataset: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's whole configuration, the values that differ from the defaults of its model and dataset."""
    return changed_values(values, _defaults(model, dataset))


@cache
def _defaults(model: str, dataset: str) -> dict[str, Any]:
    return merge_layers(default_layers(resolve_model(model), dataset))


def variant_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the settings, those that a row's label must tell."""
    told = IN_HEADING | INDIFFERENT | DATA_KEYS
    return {key: value for key, value in sorted(settings.items()) if top(key) not in told}


def label_of(model: str, variant: Mapping[str, Any]) -> str:
    """A row's name."""
    return " ".join([model, *(setting(*item) for item in variant.items())])


def setting(key: str, value: Any) -> str:
    """``key=value`` without spaces."""
    return f"{key}={value}".replace(" ", "")


def top(key: str) -> str:
    """A dotted key up to its first dot."""
    return key.partition(".")[0]
