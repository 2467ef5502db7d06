"""Reads a sweep file and checks all of it before anything is run.

description: What it is for, printed at the top.
models:                       # a name, or a name with what holds for this entry only
  - LR
  - AMEN: {use_sam: False}                                        # fixed values
  - GenCI: {grid: {lambda_ntp: [0.1, 1.0]}}                       # every combination
  - NIFDIN: {search: {learning_rate: {low: 1e-4, high: 1e-2, log: True}, dropout_prob: [0.0, 0.2]}}
  - MIRRN: {optional: True}   # "not implemented" while there is no such model
datasets: [ml-1m, amazon-fashion: {epochs: 5}]
splits: [user_time, global_time]      # default: each dataset's own
seeds: [2020, 2021]
settings: {epochs: 20}        # for all runs; also grid and search, which an entry's own replace
metric: AUC                   # on the validation rows
prune: True                   # whether a search stops hopeless runs
budget: {trials: 30, hours: 8}        # runs of each search; after that time no further run begins
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from recbole_nif.config import NIFConfig
from recbole_nif.config_keys import KIND_NAMES, did_you_mean
from recbole_nif.config_parsing import deep_merge, load_yaml, plain
from recbole_nif.config_resume import FREE_KEYS
from recbole_nif.errors import UserError
from recbole_nif.registry import resolve_model
from recbole_nif.resources import props_dir
from recbole_nif.sweep.plan import Part, Sweep, grid_size

KINDS = {
    "description": str, "models": list, "datasets": list, "splits": list, "seeds": list, "settings": dict,
    "grid": dict, "search": dict, "metric": str, "prune": bool, "budget": dict, "optional": bool,
    "trials": int, "hours": float,
}  # fmt: skip
FILE_KEYS = [key for key in KINDS if key not in ("optional", "trials", "hours")]
ENTRY_KEYS = ("grid", "search", "optional")
RANGE_KEYS = ("low", "high", "log", "step")
SAID_ELSEWHERE = {
    "model": "models", "dataset": "datasets", "split_preset": "splits", "seed": "seeds",
    "valid_metric": "metric", "run_dir": "--checkpoint_dir on the command line",
    "resume": "starting the sweep again", "checkpoint_dir": "--checkpoint_dir on the command line",
}  # fmt: skip


def find_sweep(name: str) -> Path:
    """The sweep file of that path, or the shipped one of that name."""
    shipped = props_dir() / "sweep" / f"{Path(name).stem}.yaml"
    if Path(name).is_file() or not shipped.is_file():
        return Path(name)
    return shipped


def read_sweep(file: Path, given: Mapping[str, Any]) -> Sweep:
    """The sweep in a file.

    Args:
        given: configuration values of the command line, which hold for all runs and win.

    Raises:
        UserError: unknown keys or models, wrong kinds of values, nothing to run.
    """
    values = load_yaml(file)
    _check_kinds(file, "", values, FILE_KEYS)
    for key in ("models", "datasets"):
        if not values.get(key):
            raise UserError(f"{file} names no {key}: add a line '{key}: [NAME, ...]'.")
    budget = values.get("budget", {})
    _check_kinds(file, "budget.", budget, ("trials", "hours"))
    folder = Path(given.get("checkpoint_dir") or "saved") / "sweeps" / file.stem
    sweep = Sweep(
        name=file.stem,
        folder=folder,
        description=values.get("description", ""),
        parts=[],
        missing=[],
        metric=values.get("metric", "AUC"),
        prune=values.get("prune", True),
        hours=budget.get("hours"),
    )
    for entry in values["models"]:
        for data in values["datasets"]:
            _add_entry(
                sweep, file, values, _named(file, "models", entry), _named(file, "datasets", data), given
            )
    twice = _repeated([part.study for part in sweep.parts])
    if twice:
        raise UserError(f"{file} asks twice for {twice.rpartition(' ')[0]}: leave one of the two out.")
    return sweep


def _add_entry(
    sweep: Sweep, file: Path, values: dict, entry: tuple[str, dict], data: tuple[str, dict], given: Mapping
) -> None:
    """Adds the parts of one entry of ``models`` on one dataset, or says that its model is missing."""
    (model, own), (dataset, of_data) = entry, data
    where = f"models.{model}."
    special = {key: own[key] for key in ENTRY_KEYS if key in own}
    _check_kinds(file, where, special, ENTRY_KEYS)
    own = {key: value for key, value in own.items() if key not in special}
    try:
        model = resolve_model(model).full_name
    except UserError:
        if not special.get("optional"):
            raise
        sweep.missing.append(f"{model} {dataset}")
        return
    settings: dict[str, Any] = {}
    for origin, layer in (
        ("settings", values.get("settings", {})),
        (f"datasets.{dataset}", of_data),
        (where, own),
    ):
        _check_reserved(file, origin, layer)
        deep_merge(settings, layer)
    deep_merge(settings, given)
    searched = "search" in special or ("grid" not in special and bool(values.get("search")))
    kind = "search" if searched else "grid"
    if len({"grid", "search"} & special.keys()) == 2 or {"grid", "search"} <= values.keys():
        raise UserError(f"{file}: give either grid or search, not both, for {model}.")
    told = special.get(kind, values.get(kind, {}))
    space = {key: _options(file, f"{kind}.{key}", told[key], searched) for key in told}
    places = values.get("budget", {}).get("trials") if searched else grid_size(space)
    if places is None:
        raise UserError(f"{file}: a search needs a number of runs: add 'budget: {{trials: 30}}'.")
    _check_reserved(file, kind, space)
    for split in values.get("splits", [None]):
        fixed = settings | {"valid_metric": sweep.metric} | ({"split_preset": split} if split else {})
        base = _checked(file, model, dataset, fixed, space)
        part = Part(model, dataset, base["split_preset"], 0, own, fixed, base, space, searched, places)
        for seed in values.get("seeds", [base["seed"]]):
            seeded = {"seed": seed}
            sweep.parts.append(
                replace(part, seed=seed, settings={**fixed, **seeded}, base={**base, **seeded})
            )


def _checked(file: Path, model: str, dataset: str, fixed: dict, space: dict) -> dict[str, Any]:
    """The configuration that fixed values amount to, after a look at every value of ``space``."""
    edges = {
        key: list(values.choices)
        if isinstance(values, CategoricalDistribution)
        else [values.low, values.high]
        for key, values in space.items()
    }
    try:
        config = NIFConfig(model, dataset, config_dict=fixed)
        for place in range(max(map(len, edges.values()), default=0)):
            # one configuration looks at a value of every key
            varied = {key: values[place % len(values)] for key, values in edges.items()}
            notes = NIFConfig(model, dataset, config_dict=fixed | varied).notes
            useless = [key for key in varied if any(note.startswith(f"{key} (") for note in notes)]
            if useless:
                raise UserError(f"{useless[0]} has no effect on this model: do not vary it")
    except UserError as error:
        raise UserError(f"{file}, {model} on {dataset}: {error}") from None
    return {key: value for key, value in config.resolved().items() if key not in FREE_KEYS}


def _options(file: Path, where: str, told: Any, searched: bool) -> BaseDistribution:
    """The values of one key: a list, or in a search {low, high, log, step}."""
    if isinstance(told, list) and told:
        choices = [
            value if isinstance(value, str | int | float | None) else json.dumps(value) for value in told
        ]
        if _repeated(map(repr, choices)):
            raise UserError(f"{file}: {where} has {_repeated(map(repr, choices))} twice: leave one out.")
        return CategoricalDistribution(choices)
    if not isinstance(told, dict) or not searched:
        wish = "a list of values such as [0.1, 1.0]" + (", or {low: 0.1, high: 1.0}" if searched else "")
        raise UserError(f"{file}: {where} must be {wish}, but it is {told!r}.")
    _check_kinds(file, f"{where}.", told, RANGE_KEYS)
    if "low" not in told or "high" not in told:
        raise UserError(f"{file}: {where} needs both low and high.")
    whole = type(told["low"]) is type(told["high"]) is int
    kind = IntDistribution if whole else FloatDistribution
    try:
        return kind(
            told["low"], told["high"], log=told.get("log", False), step=told.get("step", 1 if whole else None)
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"{file}: {where} cannot be searched: {error}") from None


def _named(file: Path, key: str, entry: Any) -> tuple[str, dict[str, Any]]:
    """``NAME`` or ``{NAME: {key: value}}`` as a name and its values."""
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        ((name, values),) = entry.items()
        if isinstance(values, dict):
            return str(name), plain(values)
    raise UserError(f"{file}: {key} must list NAME or NAME: {{key: value}}, but it has {entry!r}.")


def _check_kinds(file: Path, path: str, values: Mapping[str, Any], known: Any) -> None:
    for key, value in values.items():
        if key not in known:
            raise UserError(f"Unknown key '{path}{key}' in {file}{did_you_mean(str(key), known)}")
        kind = KINDS.get(key)
        if kind and type(value) is not kind and not (kind is float and type(value) is int):
            raise UserError(f"{path}{key} in {file} must be {KIND_NAMES[kind]}, but it is {value!r}.")
        if kind in (int, float) and value <= 0:
            raise UserError(f"{path}{key} in {file} must be above 0, but it is {value!r}.")
        if key in ("splits", "seeds") and not value:
            raise UserError(f"{path}{key} in {file} is empty: leave it out, or give at least one.")
    repeated = [key for key in ("splits", "seeds") if _repeated(map(repr, values.get(key, [])))]
    if repeated:
        raise UserError(f"{path}{repeated[0]} in {file} has the same value twice: leave one out.")


def _check_reserved(file: Path, origin: str, values: Mapping[str, Any]) -> None:
    for key in values:
        if key in SAID_ELSEWHERE:
            raise UserError(
                f"{key} cannot stand in {origin.rstrip('.')} of {file}: it is said by {SAID_ELSEWHERE[key]}."
            )


def _repeated(names: Any) -> str | None:
    names = list(names)
    return next((name for place, name in enumerate(names) if name in names[:place]), None)
