"""The default layers below a user's values, lowest first, and the named splits."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_nif.config_keys import RECBOLE_ARGUMENTS, Layer, did_you_mean
from recbole_nif.config_parsing import deep_merge, flatten, load_yaml
from recbole_nif.errors import UserError
from recbole_nif.registry import ResolvedModel
from recbole_nif.resources import dataset_configs_dir, props_dir, recbole_properties_dir

SPLIT_PRESETS = {
    "user_time": {"order": "TO", "group_by": "user", "split": {"RS": [0.8, 0.1, 0.1]}},
    "global_time": {"order": "TO", "group_by": "none", "split": {"RS": [0.8, 0.1, 0.1]}},
    "random": {"order": "RO", "group_by": "none", "split": {"RS": [0.8, 0.1, 0.1]}},
    "leave_one_out": {"order": "TO", "group_by": "user", "split": {"LS": "valid_and_test"}},
}
CUSTOM_SPLIT = "custom"  # recorded for eval_args that no preset describes

VALUE_METRIC = {"gauc": "UserAUC"}  # what a metric's name means here, where RecBole means a ranking metric

NO_SETTINGS = (
    "model", "dataset", "run_dir", "resume", "checkpoint_dir", "data_path", "semantic_id_cache",
    "pretrain_cache",
)  # fmt: skip
SOURCE = "source."  # nor is where the data come from: the rows are what a table compares
KNOWN_BY_NAME = ("model_file", "pretrained_generator", "semantic_ids", "text_encoder")

# Chosen by RecBole's own Config in a stock pipeline, from keys that it must find as it left them.
STOCK_CHOOSES = ("device", "use_gpu", "gpu_id")


def default_layers(model: ResolvedModel, dataset: str, tuned: bool = True) -> list[Layer]:
    """The defaults of a run by ``NIFConfig``: RecBole < ours < the model < the dataset < tuned for both."""
    recbole = recbole_properties_dir()
    files = [
        recbole / "overall.yaml",
        recbole / "dataset" / "sample.yaml",
        props_dir() / "overall.yaml",
        model.props,
        recbole / "dataset" / f"{dataset}.yaml",
        dataset_configs_dir() / f"{dataset}.yaml",
        tuned_file(model, dataset) if tuned else None,
    ]
    return [Layer(str(path), load_yaml(path)) for path in files if path and path.is_file()]


def tuned_file(model: ResolvedModel, dataset: str) -> Path:
    """Where hyper-parameters tuned for a model on a dataset lie, if there are any."""
    return props_dir() / "tuned" / f"{model.file_name}-{dataset}.yaml"


def merge_layers(layers: Iterable[Layer]) -> dict[str, Any]:
    """All layers as one mapping; a later layer's ``split_preset`` resets the split of earlier ones.

    ``eval_args`` of the same or a later layer win over a preset. In the result ``split_preset`` names the
    split in effect. ``preset`` lays the values of ``props/preset/<preset>.yaml`` below its own layer's.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        preset = layer.values.get("split_preset")
        if preset not in (None, CUSTOM_SPLIT):
            deep_merge(merged, {"eval_args": _preset(preset, layer.origin)})
        if layer.values.get("preset"):
            deep_merge(merged, load_yaml(props_dir() / "preset" / f"{layer.values['preset']}.yaml"))
        deep_merge(merged, layer.values)
    merged["split_preset"] = preset_name(merged["eval_args"])
    return merged


def changed_values(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """By dotted key, the values of a run that differ from the defaults of its model and dataset.

    Both as ``merge_layers`` makes them. Where things lie on a disk is no setting, nor what raw files look
    like: those keys are left out, and of a checkpoint, a file of IDs or an encoder its own name is kept.
    """
    usual = dict(_leaves(defaults))
    changed = {key: value for key, value in _leaves(values) if key not in usual or usual[key] != value}
    changed = {
        key: value for key, value in changed.items() if key not in NO_SETTINGS and not key.startswith(SOURCE)
    }
    return changed | {key: Path(changed[key]).name for key in KNOWN_BY_NAME if changed.get(key)}


def preset_name(eval_args: dict[str, Any]) -> str:
    """The preset that ``eval_args`` amount to, or ``custom``."""
    split = {key: eval_args.get(key) for key in ("order", "group_by", "split")}
    split["group_by"] = split["group_by"] or "none"
    return next((name for name, preset in SPLIT_PRESETS.items() if preset == split), CUSTOM_SPLIT)


def value_metrics(metrics: str | list[str]) -> list[str]:
    """Metric names with GAUC as our value metric ``UserAUC``."""
    names = [metrics] if isinstance(metrics, str) else metrics
    return [VALUE_METRIC.get(name.lower(), name) for name in names]


def extend_stock_defaults(config: Config, model: ResolvedModel, dataset: str) -> None:
    """Lays our defaults over the internal ones of a stock Config, below the user's values.

    Presets of the user must be expanded here, for RecBole does not know them.
    """
    internal, external = config.internal_config_dict, config.external_config_dict
    files = [props_dir() / "overall.yaml", model.props, dataset_configs_dir() / f"{dataset}.yaml"]
    layers = [Layer("RecBole", dict(internal))]
    layers += [Layer(str(path), load_yaml(path)) for path in files if path.is_file()]
    presets = {key: external[key] for key in ("split_preset", "preset") if key in external}
    if presets:
        layers.append(Layer("your configuration", presets))
    merged = merge_layers(layers)
    merged["metrics"] = value_metrics(merged["metrics"])
    merged["valid_metric"] = value_metrics(merged["valid_metric"])[0]
    internal.update({key: value for key, value in merged.items() if key not in STOCK_CHOOSES})


def stock_resolved(config: Config) -> dict[str, Any]:
    """What a stock Config of one of our models was given or defaulted, as NIFConfig takes it.

    Stock Config also takes every ``--key=value`` of the program that runs it, whatever it means there.
    """
    known = (RECBOLE_ARGUMENTS | config.internal_config_dict.keys()) - {*STOCK_CHOOSES, "MODEL_TYPE"}
    values = {**config.internal_config_dict, **config.external_config_dict}
    values = {key: value for key, value in values.items() if key in known}
    values["eval_args"] = config["eval_args"]
    return values | {"model": config.model, "dataset": config.dataset}


def _preset(name: str, origin: str) -> dict[str, Any]:
    if name not in SPLIT_PRESETS:
        raise UserError(f"Unknown split_preset {name!r} in {origin}{did_you_mean(str(name), SPLIT_PRESETS)}")
    return SPLIT_PRESETS[name]


def _leaves(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return ((key, value) for key, value in flatten(values) if not isinstance(value, Mapping))
