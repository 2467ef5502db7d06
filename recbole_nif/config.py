"""NIFConfig: RecBole's Config with our defaults, safe parsing, deep merge and checked keys."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.utils import ModelType

from recbole_nif import compat, registry
from recbole_nif.config_device import choose_place
from recbole_nif.config_keys import KeyCatalogue, Layer, did_you_mean
from recbole_nif.config_layers import (
    changed_values,
    default_layers,
    merge_layers,
    tuned_file,
    value_metrics,
)
from recbole_nif.config_parsing import (
    ConfigLoader,
    as_text,
    expand_dots,
    load_yaml,
    parse_argv,
    plain,
    text_values,
)
from recbole_nif.config_resume import resumed_layers
from recbole_nif.errors import UserError
from recbole_nif.resources import dataset_configs_dir, recbole_properties_dir

# RecBole pickles these; a pickle runs code when it is loaded, so neither is written nor read here.
PICKLED = ("save_dataset", "save_dataloaders", "dataset_save_path", "dataloaders_save_path")

METRIC_NAMES = ("auc", "logloss", "userauc")  # what is computed from labelled rows, all three always

# Values with which RecBole's filters keep every row.
NO_FILTER = {
    "rm_dup_inter": None,
    "val_interval": None,
    "user_inter_num_interval": "[0,inf)",
    "item_inter_num_interval": "[0,inf)",
}


class NIFConfig(Config):
    """The configuration of one run.

    Lowest to highest: RecBole's defaults, ``props/overall.yaml``, the model's YAML, the dataset's YAML,
    ``props/tuned/<Model>-<dataset>.yaml``, config files, ``config_dict``, command line. Mappings merge
    deeply.

    Args:
        model: any name that ``registry.resolve_model`` knows, or a class; else the key ``model``.
        dataset: else the key ``dataset``.
        config_file_list: YAML files, later ones win; ``--config_files`` of the command line come after them.
        config_dict: values; texts among them are parsed as on the command line.
        argv: command line options, never taken from ``sys.argv``.
        with_files: whether the dataset's files are needed.
        tuned: whether ``props/tuned`` counts.

    Attributes:
        model_class: the model's class; ``config["model"]`` is its name and ``config["model_name"]`` the
            name for reports (``recbole.DIN``).
        changed: the values that differ from the model's and the dataset's defaults, by dotted key.
        notes: sentences for the log, such as the tuned file in use or keys that the model does not read.

    Raises:
        UserError: unknown keys, wrong kinds of values, missing files, an unknown model or dataset.
    """

    yaml_loader = ConfigLoader  # RecBole's dataset code reads its list of download addresses with it

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: Sequence[str | Path] | None = None,
        config_dict: Mapping[str, Any] | None = None,
        argv: Sequence[str] = (),
        with_files: bool = True,
        tuned: bool = True,
    ):
        compat.apply()
        registry.register_metric()
        self.compatibility_settings()
        self._init_parameters_category()

        user_layers = resumed_layers(_user_layers(config_file_list, config_dict, argv))
        named = {key: value for layer in user_layers for key, value in layer.values.items()}
        resolved = registry.resolve_model(_named("model", model, named))
        self.model, self.model_class = resolved.model_class.__name__, resolved.model_class
        self.dataset = _dataset_name(_named("dataset", dataset, named))

        defaults = default_layers(resolved, self.dataset, tuned)
        self.notes = _check_keys(defaults, user_layers, resolved)
        found = tuned_file(resolved, self.dataset)
        if tuned and found.is_file():
            self.notes.append(f"Using hyper-parameters tuned for this model and dataset: {found}")
        self._given = merge_layers([*defaults, *user_layers])
        self._given |= {"model": resolved.full_name, "dataset": self.dataset}
        self.changed = changed_values(self._given, merge_layers(defaults))
        self.notes += _unread_history(self.changed, resolved)
        _refuse_unsupported(self._given)
        if with_files and not (self._given["source"] or self._given["stream_shards"]):
            _check_dataset(self.dataset, self._given["data_path"])

        self.final_config_dict = plain(self._given)
        self.final_config_dict |= {"MODEL_TYPE": self.model_class.type, "model_name": resolved.full_name}
        self._set_metrics()
        self._set_default_parameters()
        self._init_device()
        self._set_train_neg_sample_args()
        self._set_eval_neg_sample_args("valid")
        self._set_eval_neg_sample_args("test")

    def resolved(self) -> dict[str, Any]:
        """Every value as given or defaulted, in YAML's own types; as a config file it reproduces the run."""
        return plain(self._given | {"resume": None})

    def _set_metrics(self) -> None:
        """GAUC becomes our value metric UserAUC, which RecBole lets pass beside AUC."""
        final = self.final_config_dict
        final["metrics"] = value_metrics(final["metrics"])
        final["valid_metric"] = value_metrics(final["valid_metric"])[0]
        for name in final["metrics"]:
            if name.lower() not in METRIC_NAMES:
                raise UserError(f"The metric {name!r} is not computed here: use AUC, GAUC and LogLoss.")
        if final["valid_metric"].lower() not in [name.lower() for name in final["metrics"]]:
            metrics = self._given["metrics"]
            raise UserError(f"valid_metric {final['valid_metric']} must be one of metrics {metrics}.")

    def _init_device(self) -> None:
        final = self.final_config_dict
        place = choose_place(final["device"], final["use_gpu"], final["gpu_id"])
        final["device"] = place.device
        final["use_gpu"] = place.device.type == "cuda"
        final["single_spec"] = place.world_size == 1
        final |= {"local_rank": place.local_rank, "rank": place.rank, "world_size": place.world_size}
        if place.rank != 0:
            final |= {"state": "error", "show_progress": False, "verbose": False}


def _user_layers(files: Sequence | None, values: Mapping | None, argv: Sequence[str]) -> list[Layer]:
    command_line = parse_argv(argv)
    named = as_text("config_files", command_line.pop("config_files", None) or "").split()
    paths = [*(files or ()), *named]
    layers = [Layer(str(path), load_yaml(path), is_file=True) for path in paths]
    layers.append(Layer("config_dict", text_values(plain(values or {}))))
    layers.append(Layer("the command line", command_line))
    return [replace(layer, values=expand_dots(layer.values, layer.origin)) for layer in layers]


def _named(key: str, argument: Any, named: Mapping[str, Any]) -> Any:
    """The model or dataset: the constructor's argument, else what the highest layer says."""
    value = named.get(key) if argument is None else argument
    if value in (None, ""):
        raise UserError(f"No {key} is named: give --{key}=NAME or a line '{key}: NAME' in a config file.")
    return value


def _dataset_name(name: Any) -> str:
    """The dataset's name, which is no path."""
    bare = Path(as_text("dataset", name)).name
    if bare != name:
        raise UserError(
            f"dataset is {name!r}: give the name of its folder alone, such as {bare or 'my-log'!r}, and the "
            "folder around it by --data_path."
        )
    return name


def _check_keys(defaults: list[Layer], user_layers: list[Layer], model: registry.ResolvedModel) -> list[str]:
    """Checks every user layer and returns notes for the log.

    A user's class without a YAML of its own has its hyper-parameters in the config files, whose keys are
    then legal.
    """
    catalogue = KeyCatalogue(defaults, model.full_name)
    for layer in user_layers:
        if model.props is None and layer.is_file:
            catalogue.add(layer)
        catalogue.check(layer)
    return catalogue.notes


def _unread_history(changed: Mapping[str, Any], model: registry.ResolvedModel) -> list[str]:
    """Notes on keys of the history that RecBole's own models do not read."""
    if model.model_class.__module__.partition(".")[0] != "recbole":
        return []
    given = [f"{key}: {changed[key]}" for key in ("history", "history_scene") if key in changed]
    if model.model_class.type != ModelType.SEQUENTIAL:
        return [f"{key} has no effect on {model.full_name}, which reads no history." for key in given]
    unread = [key for key in given if key != "history: all"]
    return [f"{key}: {model.full_name} reads the items of the past only." for key in unread]


def _refuse_unsupported(values: Mapping[str, Any]) -> None:
    for key in PICKLED:
        if values.get(key):
            raise UserError(f"{key} is not supported, since it writes or reads pickles: remove it.")
    mode = values["eval_args"].get("mode")
    modes = list(mode.values()) if isinstance(mode, dict) else [mode]
    if not modes or any(kind != "labeled" for kind in modes):
        raise UserError(
            f"eval_args.mode is {mode!r}: click models are evaluated on labelled rows, use labeled."
        )
    if values["train_neg_sample_args"] is not None:
        raise UserError("train_neg_sample_args must stay empty: the training rows bring their own labels.")
    clipping = values["clip_grad_norm"]
    if clipping and "max_norm" not in clipping:
        raise UserError(f"clip_grad_norm is {clipping}: it needs max_norm, such as {{max_norm: 5.0}}.")
    if values["benchmark_filename"] is not None:
        _check_benchmark(values)


def _check_benchmark(values: Mapping[str, Any]) -> None:
    """RecBole takes the rows of ``benchmark_filename`` as they are and ignores every filter silently."""
    files = values["benchmark_filename"]
    if len(files) != 3:
        raise UserError(
            f"benchmark_filename is {files}: name three parts, such as [train, valid, test] for "
            f"{values['dataset']}.train.inter and so on."
        )
    for key, off in NO_FILTER.items():
        if values.get(key) != off:
            shown = "null" if off is None else repr(off)
            raise UserError(
                f"{key} is {values[key]!r}, but no filter applies to the rows of benchmark_filename: filter "
                f"the files themselves and set {key} to {shown}."
            )


def _check_dataset(name: str, data_path: str) -> None:
    recbole = recbole_properties_dir() / "dataset"
    known = {path.stem for path in dataset_configs_dir().glob("*.yaml")} | {"ml-100k"}
    downloadable = load_yaml(recbole / "url.yaml")
    if name in known or name in downloadable or any(Path(data_path, name).glob(f"{escape(name)}*.inter")):
        return
    hint = did_you_mean(name, known | set(downloadable))
    names = ", ".join(sorted(known))
    place = Path(data_path, name, f"{name}.inter")
    raise UserError(f"Unknown dataset {name!r}{hint} There are {names}, RecBole's own, or your file {place}.")
