"""A run that goes on: its stored configuration, and what may be given beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_nif.config_keys import Layer
from recbole_nif.config_parsing import as_text, flatten, load_yaml
from recbole_nif.errors import UserError
from recbole_nif.registry import resolve_model

# What may change when a run goes on: neither its rows nor its training steps depend on it.
FREE_KEYS = {
    "resume", "run_dir", "checkpoint_dir", "data_path", "source", "state", "show_progress", "log_every",
    "tensorboard", "worker", "device", "use_gpu", "gpu_id", "save_step", "pretrain_cache",
}  # fmt: skip


def resumed_layers(layers: Sequence[Layer]) -> list[Layer]:
    """``layers`` above the configuration of the run folder that their key ``resume`` names, if it does.

    Raises:
        UserError: the folder holds no configuration, or a layer changes what must stay.
    """
    folder = next((layer.values["resume"] for layer in reversed(layers) if layer.values.get("resume")), None)
    if folder is None:
        return list(layers)
    from recbole_nif.export.read import is_export  # which imports NIFConfig

    file = Path(as_text("resume", folder)) / "config.yaml"
    if not file.is_file():
        raise UserError(f"Cannot resume {folder}: it holds no config.yaml, so start the run anew.")
    if is_export(file.parent):
        raise UserError(
            f"Cannot resume {folder}: it is an export, so name the run folder that it comes from."
        )
    stored = load_yaml(file)
    for layer in layers:
        changed = _changed_leaves(stored, layer.values)
        if changed:
            raise UserError(
                f"{changed[0]} in {layer.origin} is not what {file} says: leave it out to resume that run, "
                "or start a new one."
            )
    return [Layer(str(file), stored, is_file=True), *layers, Layer("resume", {"run_dir": str(folder)})]


def changed_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys that differ between two configurations although they must not on resuming, sorted."""
    keys = (before.keys() | now.keys()) - FREE_KEYS
    return sorted(key for key in keys if before.get(key) != now.get(key))


def _changed_leaves(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """Dotted keys of ``given``, which may hold a part of a mapping only, that differ from what is stored."""
    if "model" in given:
        given = {**given, "model": resolve_model(given["model"]).full_name}
    bound = {key: value for key, value in given.items() if key not in FREE_KEYS}
    before = dict(flatten(stored))
    leaves = ((key, value) for key, value in flatten(bound) if not isinstance(value, Mapping))
    return [key for key, value in leaves if before.get(key) != value]
