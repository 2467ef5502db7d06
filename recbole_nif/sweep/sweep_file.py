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
from collections.abc import Mapping, Sequence
from functools import partial
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
from recbole_nif.config_parsing import deep_merge, expand_dots, load_yaml, plain
from recbole_nif.config_resume import FREE_KEYS
from recbole_nif.config_values import objection
from recbole_nif.errors import UserError
from recbole_nif.registry import resolve_model
from recbole_nif.resources import props_dir
from recbole_nif.sweep.plan import Part, Sweep, grid_size

NUMBER = int | float
KINDS = {
    "description": str, "models": list, "datasets": list, "splits": list, "seeds": list, "settings": dict,
    "grid": dict, "search": dict, "metric": str, "prune": bool, "budget": dict, "optional": bool,
    "trials": int, "hours": NUMBER, "low": NUMBER, "high": NUMBER, "log": bool, "step": NUMBER,
}  # fmt: skip
WORDS = KIND_NAMES | {NUMBER: KIND_NAMES[float], list: "a list"}
FILE_KEYS = tuple(KINDS)[: tuple(KINDS).index("optional")]
ENTRY_KEYS = ("grid", "search", "optional")
SAID_ELSEWHERE = {
    "model": "models", "dataset": "datasets", "split_preset": "splits", "seed": "seeds",
    "valid_metric": "metric", "run_dir": "--checkpoint_dir on the command line",
    "resume": "starting the sweep again", "checkpoint_dir": "--checkpoint_dir on the command line",
    "config_files": "'settings' in that file, or by --KEY=VALUE on the command line",
}  # fmt: skip


def find_sweep(name: str) -> Path:
    """The sweep file of that path, or the shipped one of that name.

    Raises:
        UserError: there is neither.
    """
    file, folder = Path(name), props_dir() / "sweep"
    if file.is_file():
        return file
    shipped = folder / f"{file.stem}.yaml"
    if file.parent.as_posix() in (".", "props/sweep") and shipped.is_file():
        return shipped
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    raise UserError(f"There is no sweep file {name}: give the path of one, or one of {', '.join(names)}.")


def read_sweep(file: Path, given: Mapping[str, Any]) -> Sweep:
    """The sweep in a file.

    Args:
        given: configuration values of the command line, which hold for all runs and win.

    Raises:
        UserError: unknown keys or models, wrong kinds of values, nothing to run.
    """
    return _Reader(file, given).sweep()


class _Reader:
    """Reads one file; every complaint begins with its name."""

    def __init__(self, file: Path, given: Mapping[str, Any]):
        self.file, self.given, self.values = file, given, load_yaml(file)
        self._check_keys("", self.values, FILE_KEYS)
        for key in ("models", "datasets"):
            if not self.values.get(key):
                raise UserError(f"{file} names no {key}: add a line '{key}: [NAME, ...]'.")
        self.budget = self.values.get("budget", {})
        self._check_keys("budget.", self.budget, ("trials", "hours"))
        self._check_fixed("the command line", {key: given[key] for key in given if key != "checkpoint_dir"})
        self._check_fixed("settings", self.values.get("settings", {}))

    def sweep(self) -> Sweep:
        """Every entry of ``models`` on every one of ``datasets``."""
        parts, missing = [], []
        for model, own in map(partial(self._named, "models"), self.values["models"]):
            for dataset, of_data in map(partial(self._named, "datasets"), self.values["datasets"]):
                found = self._parts(model, own, dataset, of_data)
                parts += found
                missing += [] if found else [f"{model} {dataset}"]
        twice = _repeated([part.study for part in parts])
        if twice:
            raise UserError(
                f"{self.file} asks twice for {twice.rpartition(' ')[0]}: leave one of the two out."
            )
        return Sweep(
            name=self.file.stem,
            folder=Path(self.given.get("checkpoint_dir") or "saved") / "sweeps" / self.file.stem,
            description=self.values.get("description", ""),
            parts=parts,
            missing=missing,
            metric=self.values.get("metric", "AUC"),
            prune=self.values.get("prune", True),
            hours=self.budget.get("hours"),
        )

    def _parts(self, name: str, entry: dict, dataset: str, of_data: dict) -> list[Part]:
        """An entry of ``models`` on a dataset, by split and seed; none if its model does not exist yet."""
        special = {key: entry[key] for key in ENTRY_KEYS if key in entry}
        own = {key: value for key, value in entry.items() if key not in special}
        self._check_keys(f"models.{name}.", special, ENTRY_KEYS)
        self._check_fixed(f"models.{name}", own)
        self._check_fixed(f"datasets.{dataset}", of_data)
        try:
            model = resolve_model(name).full_name
        except UserError:
            if special.get("optional"):
                return []
            raise
        fixed: dict[str, Any] = {}
        for layer in (self.values.get("settings", {}), of_data, own, self.given):
            deep_merge(fixed, expand_dots(layer, str(self.file)))
        space, searched = self._space(name, special)
        places = self.budget.get("trials") if searched else grid_size(space)
        if places is None:
            raise UserError(f"{self.file}: a search needs a number of runs: add 'budget: {{trials: 30}}'.")
        parts = []
        for split in self.values.get("splits", [None]):
            chosen = fixed | {"valid_metric": self.values.get("metric", "AUC")}
            chosen |= {"split_preset": split} if split else {}
            base = self._checked(model, dataset, chosen, space)
            if searched:
                base = _before_tuning(base, model, dataset, chosen, space)
            for seed in self.values.get("seeds", [base["seed"]]):
                seeded = {"seed": seed}
                parts.append(
                    Part(
                        model=model,
                        dataset=dataset,
                        split=base["split_preset"],
                        seed=seed,
                        own=own,
                        settings=chosen | seeded,
                        base=base | seeded,
                        space=space,
                        searched=searched,
                        places=places,
                    )
                )
        return parts

    def _space(self, name: str, special: dict) -> tuple[dict[str, BaseDistribution], bool]:
        """What an entry varies, and whether that is a search."""
        told = special if {"grid", "search"} & special.keys() else self.values
        if "grid" in told and "search" in told:
            raise UserError(f"{self.file}: give either grid or search, not both, for {name}.")
        kind = "search" if "search" in told else "grid"
        space = told.get(kind, {})
        self._check_fixed(kind, space)
        return {
            key: self._options(f"{kind}.{key}", space[key], "search" in told) for key in space
        }, "search" in told

    def _options(self, where: str, told: Any, searched: bool) -> BaseDistribution:
        """The values of one key: a list, or in a search {low, high, log, step}."""
        if isinstance(told, list) and told:
            choices = [v if isinstance(v, str | int | float | None) else json.dumps(v) for v in told]
            twice = _repeated([repr(choice) for choice in choices])
            if twice:
                raise UserError(f"{self.file}: {where} has {twice} twice: leave one out.")
            return CategoricalDistribution(choices)
        if not isinstance(told, dict) or not searched:
            wish = "a list of values such as [0.1, 1.0]" + (", or {low: 0.1, high: 1.0}" if searched else "")
            raise UserError(f"{self.file}: {where} must be {wish}, but it is {told!r}.")
        self._check_keys(f"{where}.", told, ("low", "high", "log", "step"))
        if "low" not in told or "high" not in told:
            raise UserError(f"{self.file}: {where} needs both low and high.")
        whole = type(told["low"]) is type(told["high"]) is int
        kind, step = (IntDistribution, 1) if whole else (FloatDistribution, None)
        if whole and type(told.get("step", step)) is not int:
            raise UserError(f"{self.file}: {where} has whole ends, so its step must be a whole number too.")
        try:
            return kind(told["low"], told["high"], log=told.get("log", False), step=told.get("step", step))
        except (ValueError, TypeError, ArithmeticError) as error:
            raise UserError(f"{self.file}: {where} cannot be searched: {error}") from None

    def _checked(self, model: str, dataset: str, fixed: dict, space: dict) -> dict[str, Any]:
        """The configuration that fixed values amount to, after a look at every value of ``space``."""
        values = [
            list(options.choices)
            if isinstance(options, CategoricalDistribution)
            else [options.low, options.high]
            for options in space.values()
        ]
        try:
            config = NIFConfig(model, dataset, config_dict=fixed)
            for place in range(max(map(len, values), default=0)):
                # one configuration looks at a value of every key
                varied = {
                    key: options[place % len(options)] for key, options in zip(space, values, strict=True)
                }
                notes = NIFConfig(model, dataset, config_dict=fixed | varied).notes
                useless = [key for key in varied if any(note.startswith(f"{key} (") for note in notes)]
                if useless:
                    raise UserError(f"{useless[0]} has no effect on this model: do not vary it.")
        except UserError as error:
            raise UserError(f"{self.file}, {model} on {dataset}: {error}") from None
        return {key: value for key, value in config.resolved().items() if key not in FREE_KEYS}

    def _named(self, key: str, entry: Any) -> tuple[str, dict[str, Any]]:
        """``NAME`` or ``{NAME: {key: value}}`` as a name and its values."""
        if isinstance(entry, str):
            return entry, {}
        if isinstance(entry, dict) and len(entry) == 1:
            ((name, values),) = entry.items()
            if isinstance(values, dict):
                return str(name), plain(values)
        raise UserError(f"{self.file}: {key} must list NAME or NAME: {{key: value}}, but it has {entry!r}.")

    def _check_keys(self, path: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
        """Names, kinds and limits of a sweep file's own keys."""
        for key, value in values.items():
            if key not in known:
                raise UserError(f"Unknown key '{path}{key}' in {self.file}{did_you_mean(str(key), known)}")
            kind = KINDS.get(key, object)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise UserError(f"{path}{key} in {self.file} must be {WORDS[kind]}, but it is {value!r}.")
            if key in ("trials", "hours") and value <= 0:
                raise UserError(f"{path}{key} in {self.file} must be above 0, but it is {value!r}.")
            if key in ("splits", "seeds"):
                self._check_list(key, value)

    def _check_list(self, key: str, values: list) -> None:
        kind, words = (str, "names") if key == "splits" else (int, "whole numbers")
        if not values or not all(type(value) is kind for value in values):
            raise UserError(f"{key} in {self.file} must be a list of {words}, but it is {values!r}.")
        wish = objection("seed", values) if key == "seeds" else None
        if wish:
            raise UserError(f"{key} in {self.file} must be {wish}, but they are {values!r}.")
        if _repeated(values):
            raise UserError(f"{key} in {self.file} has {_repeated(values)!r} twice: leave one out.")

    def _check_fixed(self, origin: str, values: Mapping[str, Any]) -> None:
        """Refuses what the file says by keys of its own."""
        for key in values:
            if key in SAID_ELSEWHERE:
                raise UserError(
                    f"{key} cannot stand in {origin} of {self.file}: say it by {SAID_ELSEWHERE[key]}."
                )


def _before_tuning(base: dict, model: str, dataset: str, fixed: dict, space: Mapping[str, Any]) -> dict:
    """``base`` as if ``space`` had not been tuned: a search whose winner is in use is the same search."""
    before = NIFConfig(model, dataset, config_dict=fixed, tuned=False).resolved()
    keys = {key.partition(".")[0] for key in space} & before.keys()
    return base | {key: before[key] for key in keys}


def _repeated(values: Sequence) -> Any:
    """The first value that an earlier one equals, None if there is none."""
    return next((value for place, value in enumerate(values) if value in values[:place]), None)
