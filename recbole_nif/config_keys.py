"""Which configuration keys exist, what kind of value each takes, and what a user probably meant."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments

from recbole_nif.config_choices import CHOICES
from recbole_nif.config_parsing import flatten, load_yaml
from recbole_nif.config_values import MAPPING_KINDS, declared_kinds, objection
from recbole_nif.errors import UserError
from recbole_nif.resources import dataset_configs_dir, props_dir, recbole_properties_dir

RECBOLE_ARGUMENTS = {*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments}
DATA_KEYS = {*dataset_arguments} - {"MAX_ITEM_LIST_LENGTH"}  # what the data are, whatever the model

# Mappings with a fixed set of keys; all other mappings (load_col, threshold, source, …) are free-form.
NESTED_KEYS = {
    "eval_args": ("split", "group_by", "order", "mode"),
    "eval_args.split": ("RS", "LS", "TS"),
    "eval_args.mode": ("valid", "test"),
    "clip_grad_norm": ("max_norm", "norm_type", "error_if_nonfinite", "foreach"),
}

# What RecBole accepts although its YAML shows one form only.
ALSO_ACCEPTED = {
    "gpu_id": (int, list),
    "metrics": (str,),
    "topk": (int,),
    "reg_weight": (float,),
    "scene_field": (list,),
    "moveline_files": (str,),
    "eval_args.mode": (dict,),
}

# Keys of RecBole that nothing here reads, and why.
UNREAD = {
    "log_wandb": "curves are in the run folder's tensorboard/, which wandb can follow",
    "enable_scaler": "gradients are scaled where amp_dtype is float16",
    "metric_decimal_place": "metrics are written as they were computed",
    "loss_decimal_place": "losses are written as they were computed",
    "transform": "no sequence is changed on its way to the model",
    "topk": "no metric of a ranked list is computed",
    "repeatable": "no metric of a ranked list is computed",
    "valid_metric_bigger": "each metric has its own direction",
}

KIND_NAMES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list such as [a, b]",
    dict: "a mapping such as {key: value}",
}


@dataclass(frozen=True)
class Layer:
    """Values and where they come from, in words that an error message can use."""

    origin: str
    values: dict[str, Any]
    is_file: bool = False


class KeyCatalogue:
    """The legal keys of one run, learned from its default layers.

    Args:
        defaults: the layers of RecBole, of this package, of the model and of the dataset.
        model_name: for the note about keys that only other models read.
    """

    def __init__(self, defaults: Iterable[Layer], model_name: str):
        self.model_name = model_name
        self.defaults: dict[str, list[Any]] = {}
        self.legal = {"model", "dataset", *RECBOLE_ARGUMENTS}
        self.notes: list[str] = []
        for layer in defaults:
            self.add(layer)

    def add(self, layer: Layer) -> None:
        """Makes the keys of a layer legal and its values examples of their kind."""
        for path, value in flatten(layer.values):
            self.defaults.setdefault(path, []).append(value)
            if "." not in path:
                self.legal.add(path)

    def check(self, layer: Layer) -> None:
        """Raises a UserError for the first key that nobody reads, or value of the wrong kind."""
        for key, value in layer.values.items():
            if key not in self.legal:
                self._unknown(key, layer.origin)
            elif key in UNREAD and value not in self.defaults.get(key, ()):
                self.notes.append(f"{key} ({layer.origin}) is not read: {UNREAD[key]}.")
            self._check_value(key, value, layer.origin)

    def _unknown(self, key: str, origin: str) -> None:
        elsewhere = _keys_of_other_runs()
        if key not in elsewhere:
            raise UserError(f"Unknown key {key!r} in {origin}{did_you_mean(key, self.legal | elsewhere)}")
        self.notes.append(
            f"{key} ({origin}) is a key of other models or datasets: no effect on {self.model_name}."
        )

    def _check_value(self, path: str, value: Any, origin: str) -> None:
        if path in NESTED_KEYS and isinstance(value, dict):
            for key, item in value.items():
                if key not in NESTED_KEYS[path]:
                    hint = did_you_mean(str(key), NESTED_KEYS[path])
                    raise UserError(f"Unknown key '{path}.{key}' in {origin}{hint}")
                self._check_value(f"{path}.{key}", item, origin)
        if path in CHOICES:
            if value not in CHOICES[path] and str(value).upper() not in CHOICES[path]:
                options = ", ".join(str(choice) for choice in CHOICES[path] if choice is not None)
                raise UserError(f"{path} must be one of {options}, but {origin} gives {value!r}.")
        elif not self._fits(path, value):
            raise UserError(f"{path} must be {self._expected(path)}, but {origin} gives {value!r}.")
        elif wish := objection(path, value):
            raise UserError(f"{path} must be {wish}, but {origin} gives {value!r}.")
        if path in MAPPING_KINDS and isinstance(value, dict):
            for key, item in value.items():
                self._check_value(f"{path}.{key}", item, origin)

    def _fits(self, path: str, value: Any) -> bool:
        examples = self.defaults.get(path, [])
        kinds = self._kinds_of(path)
        if not kinds:
            return True
        if value is None:
            return None in examples
        if type(value) in (*kinds, *ALSO_ACCEPTED.get(path, ())) or (float in kinds and type(value) is int):
            return not isinstance(value, list) or _items_fit(value, examples)
        return False

    def _kinds_of(self, path: str) -> list[type]:
        """The kinds of a key's defaults, or what its comment declares where the default is null."""
        examples = self.defaults.get(path)
        return (_kinds(examples) or list(declared_kinds().get(path, ()))) if examples else []

    def _expected(self, path: str) -> str:
        kinds = [*self._kinds_of(path), *ALSO_ACCEPTED.get(path, ())]
        words = [KIND_NAMES[kind] for kind in dict.fromkeys(kinds)]
        lists = [example for example in self.defaults[path] if isinstance(example, list) and example]
        return " or ".join(words) + (f" (default {lists[-1]})" if lists else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that suggests the known name nearest to ``name``, whatever its case."""
    by_case = {option.lower(): option for option in known}
    near = get_close_matches(name.lower(), by_case, n=1)
    return f"; did you mean {by_case[near[0]]!r}?" if near else "."


def _kinds(examples: list[Any]) -> list[type]:
    return list(dict.fromkeys(type(example) for example in examples if example is not None))


def _items_fit(items: list[Any], examples: list[Any]) -> bool:
    """Whether list items are of the kind of the default lists' items; an empty default says nothing."""
    kinds = _kinds([item for example in examples if isinstance(example, list) for item in example])
    if len(kinds) != 1:
        return True
    return all(type(item) is kinds[0] or (kinds[0] is float and type(item) is int) for item in items)


@cache
def _keys_of_other_runs() -> frozenset[str]:
    """Keys of every model and dataset YAML, ours and RecBole's."""
    folders = [props_dir() / "model", dataset_configs_dir(), recbole_properties_dir() / "model"]
    files = [path for folder in folders for path in folder.glob("*.yaml")]
    return frozenset(key for path in files for key in load_yaml(path))
