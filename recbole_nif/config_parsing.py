"""Texts into values: YAML files, the command line, dotted keys, deep merge. Nothing is ever ``eval``ed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from yaml.constructor import ConstructorError

from recbole_nif.errors import UserError

SHORT_OPTIONS = {"-m": "model", "-d": "dataset"}

# Names, paths, intervals and templates: YAML would take the interval [5,50] for a list, the folder 2024 for a
# number and the template {title} for a mapping.
TEXT_KEYS = {
    "model",
    "dataset",
    "config_files",
    "data_path",
    "run_dir",
    "checkpoint_dir",
    "model_file",
    "pretrained_generator",
    "pretrain_cache",
    "resume",
    "semantic_ids",
    "semantic_id_cache",
    "item_text",
    "text_encoder",
    "field_separator",
    "seq_separator",
    "user_inter_num_interval",
    "item_inter_num_interval",
}

# Mappings of which RecBole allows one key only: a later layer replaces them instead of adding a second key.
ONE_KEY_MAPPINGS = {"threshold", "eval_args.split"}


class ConfigLoader(yaml.SafeLoader):
    """The safe loader, with ``1e-3`` a number as in RecBole, ``None`` null and dates text."""

    def __init__(self, stream):
        super().__init__(stream)
        self.flattened: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuses a key that is given twice, of which the safe loader keeps the last without a word."""
        seen = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen and id(node) not in self.flattened:
                    raise ConstructorError(
                        problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
        self.flattened.add(id(node))  # its value holds merged keys besides from now on
        super().flatten_mapping(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Names the line also where a text such as ``0x_`` looks like a number and is none."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise ConstructorError(
                problem=f"{node.value!r} is no {kind}", problem_mark=node.start_mark
            ) from error


ConfigLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
ConfigLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^None$"), ["N"])
ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:
         [-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
        |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
        re.X,
    ),
    list("-+0123456789."),
)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file gives {}.

    Raises:
        UserError: a missing file, wrong syntax (with the line) or anything but a mapping.
    """
    try:
        with open(path, encoding="utf-8") as file:
            values = plain(yaml.load(file, Loader=ConfigLoader))  # a SafeLoader: it runs no code
    except OSError as error:
        raise UserError(f"Cannot read the config file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The config file {path} is not UTF-8 text: save it as UTF-8.") from error
    except RecursionError as error:
        raise UserError(f"A value in {path} nests too deeply, or holds itself: write it out.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "not readable"
        raise UserError(f"Wrong YAML in {where}: {problem}.") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"The config file {path} must hold 'key: value' lines, one key each.")
    return values


def parse_value(key: str, text: str) -> Any:
    """A value of the command line: a number, list, mapping, truth value, null or else the text itself."""
    if key in TEXT_KEYS or key.startswith("val_interval.") or not text.strip():
        return None if text in ("~", "null", "None") else text
    try:
        return plain(yaml.load(text, Loader=ConfigLoader))
    except (yaml.YAMLError, RecursionError):
        return text


def as_text(key: str, value: Any) -> str:
    """A name or a path as it is, which must be text."""
    if not isinstance(value, str):
        raise UserError(f"{key} must be text, but it is {value!r}: write a name such as 2024 in quotes.")
    return value


def parse_argv(argv: Sequence[str]) -> dict[str, Any]:
    """Options ``--key=value``, ``--key value``, ``-m`` and ``-d`` as a nested mapping.

    The first ``=`` separates.
    """
    options: dict[str, Any] = {}
    tokens = list(argv)
    while tokens:
        token = tokens.pop(0)
        name, equals, text = token.partition("=")
        key = SHORT_OPTIONS.get(name, name[2:] if name.startswith("--") else "")
        if not key:
            raise UserError(f"Unexpected argument {token!r}: write --key=value and quote values with spaces.")
        if not equals:
            if not tokens or tokens[0].startswith("--") or tokens[0] in SHORT_OPTIONS:
                raise UserError(f"The option {token} needs a value: write {token}=value.")
            text = tokens.pop(0)
        value = parse_value(key, text)
        if key in options and options[key] != value:
            raise UserError(f"The option --{key} is given twice with different values.")
        options[key] = value
    return expand_dots(options, origin="the command line")


def expand_dots(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """``{"eval_args.order": "RO"}`` as ``{"eval_args": {"order": "RO"}}``."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *parents, leaf = str(key).split(".")
        for parent in reversed(parents):
            leaf, value = parent, {leaf: value}
        if leaf in nested and isinstance(nested[leaf], dict) != isinstance(value, dict):
            raise UserError(f"{leaf!r} is given both as a whole and by dots in {origin}: give it one way.")
        deep_merge(nested, {leaf: value})
    return nested


def deep_merge(base: dict[str, Any], over: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Lays ``over`` on ``base`` in place and returns it: mappings merge at every depth, the rest replaces."""
    for key, value in over.items():
        here = f"{path}{key}"
        both = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        merges = both and here not in ONE_KEY_MAPPINGS
        base[key] = deep_merge(base[key], value, f"{here}.") if merges else plain(value)
    return base


def plain(value: Any) -> Any:
    """A copy made of YAML's own types: dict, list and scalars; paths and numpy's numbers are converted."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def text_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """A ``config_dict`` whose texts are parsed as on the command line; searches give lists as texts."""
    return {
        key: parse_value(key, value) if isinstance(value, str) else value for key, value in values.items()
    }


def flatten(values: Mapping[str, Any], path: str = "") -> Iterable[tuple[str, Any]]:
    """Every (dotted path, value), mappings themselves included."""
    for key, value in values.items():
        yield f"{path}{key}", value
        if isinstance(value, Mapping):
            yield from flatten(value, f"{path}{key}.")
