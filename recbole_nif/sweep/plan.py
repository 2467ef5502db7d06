"""What a sweep consists of: parts with their values to vary, and the runs in them."""

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna import Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from recbole_nif.config_parsing import deep_merge, expand_dots, plain, text_values
from recbole_nif.publish.names import setting
from recbole_nif.trainer.stages import METRIC_ALIASES, SMALLER_IS_BETTER

LONGEST_NAME = 160  # characters of a folder's name before its fingerprint


@dataclass(frozen=True)
class Run:
    """One run: its name for people, the name of its folder, and its settings as a ``config_dict``.

    ``config`` is the whole configuration that they amount to.
    """

    label: str
    key: str
    settings: dict[str, Any]
    config: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A model on one dataset, split and seed: a single run, a grid of runs or a search. One optuna study.

    Attributes:
        own: the settings by which the model's entry differs from others of the same model.
        settings: all fixed values.
        base: the whole configuration that they amount to; equal runs have equal configurations. What a
            search varies has its value before tuning there.
        space: what is varied, by dotted key.
        searched: whether ``space`` is searched, rather than every point of it run.
        places: how many runs the part has at most.
    """

    model: str
    dataset: str
    split: str
    seed: int
    own: Mapping[str, Any]
    settings: Mapping[str, Any]
    base: Mapping[str, Any]
    space: Mapping[str, BaseDistribution]
    searched: bool
    places: int

    @property
    def label(self) -> str:
        """The part's name for people."""
        return self._label({})

    @property
    def study(self) -> str:
        """The study's name; a part that is changed in the sweep's file has a new one."""
        space = {name: repr(values) for name, values in self.space.items()}
        return f"{self.label} {_fingerprint([self.base, space, self.searched])}"

    def points(self) -> Iterator[dict[str, Any]]:
        """Every point of the grid; a single empty one where nothing is varied."""
        values = itertools.product(*(options.choices for options in self.space.values()))
        return (dict(zip(self.space, point, strict=True)) for point in values)

    def run(self, values: Mapping[str, Any]) -> Run:
        """The run with these values of ``space``."""
        values = text_values(values)
        changes = expand_dots(values, "the sweep")
        settings = deep_merge({"model": self.model, "dataset": self.dataset, **plain(self.settings)}, changes)
        whole = deep_merge(plain(self.base), changes)
        told = {key: value for key, value in values.items() if self.base.get(key, ...) != value}
        label = self._label(told)
        name = re.sub(r"[^\w.=+-]+", "_", label.replace(" ", "-"))[:LONGEST_NAME]
        return Run(label, f"{name}-{_fingerprint(whole)}", settings, whole)

    def _label(self, values: Mapping[str, Any]) -> str:
        told = [setting(*item) for item in {**self.own, **values}.items()]
        return " ".join([self.model.rpartition(":")[2], *told, self.dataset, self.split, f"s{self.seed}"])


@dataclass(frozen=True)
class Sweep:
    """A sweep file, read and checked.

    Attributes:
        folder: where its runs, its account of them and its tables lie.
        missing: "model dataset" of entries whose model does not exist yet.
        metric: what runs of a search are chosen by, on the validation rows.
        prune: whether a search stops runs that are worse than the median at the same epoch.
        hours: after how many hours no further run is begun; None = never.
    """

    name: str
    folder: Path
    description: str
    parts: list[Part]
    missing: list[str]
    metric: str
    prune: bool
    hours: float | None

    @property
    def direction(self) -> str:
        """``minimize`` or ``maximize``."""
        name = self.metric.lower()
        return "minimize" if METRIC_ALIASES.get(name, name) in SMALLER_IS_BETTER else "maximize"


def suggest(trial: Trial, name: str, values: BaseDistribution) -> Any:
    """The trial's value of one key."""
    if isinstance(values, CategoricalDistribution):
        return trial.suggest_categorical(name, values.choices)
    kind = trial.suggest_int if isinstance(values, IntDistribution) else trial.suggest_float
    return kind(name, values.low, values.high, step=values.step, log=values.log)


def grid_size(space: Mapping[str, CategoricalDistribution]) -> int:
    """How many points a grid has."""
    return math.prod(len(values.choices) for values in space.values())


def _fingerprint(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
