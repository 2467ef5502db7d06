"""A training stage and the one loop that runs all of them.

A stage says what is trained, on which batches, with which loss, and how it is judged; ``run_stage`` adds
epochs, early stopping, checkpoints and reports.
"""

import logging
import math
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from recbole.data.interaction import Interaction
from torch import Tensor, nn

from recbole_nif.errors import UserError
from recbole_nif.trainer.checkpoint import StageWeights
from recbole_nif.trainer.engine import Engine
from recbole_nif.trainer.progress import Meter, Scalars, bar, numbers

logger = logging.getLogger(__name__)

SMALLER_IS_BETTER = {"logloss"}
METRIC_ALIASES = {"userauc": "gauc"}


@dataclass(frozen=True)
class Settings:
    """How long and how fast a stage trains; see ``read`` for the config keys."""

    epochs: int
    learning_rate: float
    weight_decay: float
    stopping_step: int
    eval_step: int
    valid_metric: str

    @classmethod
    def read(cls, config, prefix: str = "", valid_metric: str | None = None) -> "Settings":
        """Reads ``<prefix>epochs``, ``<prefix>learning_rate``, … and falls back to the plain key."""

        def option(key: str, default):
            value = config[prefix + key] if config[prefix + key] is not None else config[key]
            return default if value is None else value

        metric = (valid_metric or config["valid_metric"] or "AUC").lower()
        return cls(
            epochs=option("epochs", 1),
            learning_rate=option("learning_rate", 1e-3),
            weight_decay=option("weight_decay", 0.0),
            stopping_step=option("stopping_step", 10),
            eval_step=option("eval_step", 1),
            valid_metric=METRIC_ALIASES.get(metric, metric),
        )


@dataclass
class EarlyStopping:
    """RecBole's rule: an equal score counts as better; stop after more than ``patience`` worse ones."""

    patience: int
    bigger: bool
    best: float | None = None
    best_epoch: int = -1
    waited: int = 0

    def update(self, score: float, epoch: int) -> bool:
        """Whether ``score`` is the best so far."""
        improved = self.best is None or (score >= self.best if self.bigger else score <= self.best)
        if improved:
            self.best, self.best_epoch, self.waited = score, epoch, 0
        else:
            self.waited += 1
        return improved

    @property
    def stop(self) -> bool:
        """Whether patience has run out."""
        return self.waited > self.patience


@dataclass
class StageReport:
    """What a stage did, as result.json stores it; times in seconds, ``rows`` counted in ``unit``."""

    name: str
    unit: str
    epochs_run: int = 0
    best_epoch: int = -1
    best_score: float | None = None
    seconds: float = 0.0
    train_seconds: float = 0.0
    rows: int = 0
    valid: dict[str, float] | None = None
    curve: list[dict] = field(default_factory=list)
    facts: dict = field(default_factory=dict)
    checkpoint: str | None = None

    @property
    def rows_per_second(self) -> float | None:
        """Training throughput over all epochs, loading included."""
        return self.rows / self.train_seconds if self.train_seconds else None

    def count_epoch(self, epoch: int, rows: int, seconds: float, losses: dict[str, float]) -> None:
        """Adds a trained epoch and opens its entry of the curve."""
        self.epochs_run += 1
        self.rows += rows
        self.train_seconds += seconds
        self.curve.append({"epoch": epoch, "loss": losses, "valid": None})

    def record(self) -> dict:
        """Plain values."""
        return asdict(self) | {"rows_per_second": self.rows_per_second}


class Stage:
    """One stage of training. Subclasses give ``name``, ``unit`` and the methods below.

    Attributes:
        module: what is trained and checkpointed, on the config's device.
        settings: epochs, learning rate and early stopping.
        validates: whether there are rows to validate on; without, the last epoch's weights stay.
        headline: the validation metrics that a log line shows; empty = all.
    """

    name: str
    unit = "rows"
    module: nn.Module
    settings: Settings
    validates = True
    headline: tuple[str, ...] = ()

    def param_groups(self) -> list[dict]:
        """Optimizer groups: the module's own (``param_groups``), else all trainable parameters."""
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        if hasattr(self.module, "param_groups"):
            return self.module.param_groups(rate, decay)
        trainable = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        return [{"params": trainable, "lr": rate, "weight_decay": decay}]

    def __len__(self) -> int:
        """Batches of an epoch."""
        raise NotImplementedError

    def rows(self) -> int:
        """How many ``unit``s an epoch trains."""
        raise NotImplementedError

    def batches(self, epoch: int) -> Iterable[Interaction]:
        """The epoch's batches, a function of (seed, epoch)."""
        raise NotImplementedError

    def loss_terms(self, batch: Interaction) -> dict[str, Tensor]:
        """Named scalars whose sum is minimized."""
        raise NotImplementedError

    def evaluate(self) -> dict[str, float]:
        """Validation metrics, ``settings.valid_metric`` among them."""
        raise NotImplementedError

    def facts(self, valid: dict[str, float] | None) -> dict:
        """What else the report should hold; ``valid``: the best epoch's metrics, if it was evaluated."""
        return {}


def run_stage(
    stage: Stage,
    config,
    *,
    folder: Path | None,
    scalars: Scalars,
    show_progress: bool = False,
    verbose: bool = True,
    callback: Callable[[int, float], None] | None = None,
) -> StageReport:
    """Trains ``stage`` and leaves its module with the best weights.

    Args:
        folder: where ``<stage>-best.pt`` and ``<stage>-last.pt`` go; None keeps the best weights in memory.
        scalars: TensorBoard.
        show_progress: whether to draw progress bars.
        verbose: whether to log every epoch.
        callback: called with (epoch, validation score) after every evaluation, as RecBole's ``callback_fn``.

    Raises:
        RuntimeError: the loss is not finite.
        UserError: the validation metric is unknown or undefined.
    """
    started = time.perf_counter()
    settings = stage.settings
    engine = Engine(config, stage.module, stage.loss_terms, stage.param_groups())
    stopping = EarlyStopping(settings.stopping_step, bigger=settings.valid_metric not in SMALLER_IS_BETTER)
    weights = StageWeights(config, stage.name, stage.module, folder)
    report = StageReport(name=stage.name, unit=stage.unit)
    validates = stage.validates and settings.eval_step > 0
    eval_step = min(settings.eval_step, settings.epochs)

    for epoch in range(settings.epochs):
        # dropout, like the batches, is a function of (seed, stage, epoch), whatever ran before
        torch.manual_seed(zlib.crc32(f"{config['seed']} {config['rank']} {stage.name} {epoch}".encode()))
        losses, seconds = _train_epoch(stage, engine, epoch, config["log_every"] or 50, show_progress)
        report.count_epoch(epoch, stage.rows(), seconds, losses)
        scalars.add(f"{stage.name}/loss", losses, epoch)
        line = f"{stage.name} epoch {epoch}: {numbers(losses)} | {stage.rows() / seconds:,.0f} {stage.unit}/s"
        best = not validates
        if validates and (epoch + 1) % eval_step == 0:
            metrics = stage.evaluate()
            score = _valid_score(metrics, settings.valid_metric)
            best = stopping.update(score, epoch)
            report.curve[-1]["valid"] = metrics
            scalars.add(f"{stage.name}/valid", metrics, epoch)
            shown = {name: metrics[name] for name in stage.headline or metrics}
            line += f" | valid {numbers(shown)}{' (best)' if best else ''}"
            if callback is not None:
                callback(epoch, score)
        logger.log(logging.INFO if verbose else logging.DEBUG, line)
        if best:
            report.best_epoch, report.best_score, report.valid = (
                epoch,
                stopping.best,
                metrics if validates else None,
            )
            weights.keep(epoch, stopping)
        weights.save_last(epoch, stopping, engine.optimizer)
        if stopping.stop:
            break

    if settings.epochs < 1:  # evaluation only
        weights.keep(-1, stopping)
        if validates:
            report.valid = stage.evaluate()
            report.best_score = _valid_score(report.valid, settings.valid_metric)
    weights.restore()
    report.checkpoint = None if weights.best is None else weights.best.name
    report.facts = stage.facts(report.valid)
    report.seconds = time.perf_counter() - started
    return report


def _train_epoch(
    stage: Stage, engine: Engine, epoch: int, log_every: int, show_progress: bool
) -> tuple[dict[str, float], float]:
    """Mean loss terms of the epoch and its seconds, loading included."""
    stage.module.train()
    meter, started = Meter(), time.perf_counter()
    progress = bar(stage.batches(epoch), len(stage), f"{stage.name} {epoch}", show_progress)
    for step, batch in enumerate(progress, 1):
        meter.add(engine.step(batch))
        if step % log_every == 0:
            means = _finite(meter.means(), stage, epoch)
            speed = stage.rows() * step / len(stage) / (time.perf_counter() - started)
            progress.set_postfix_str(f"{numbers(means)}  {speed:,.0f} {stage.unit}/s", refresh=False)
    return _finite(meter.means(), stage, epoch), time.perf_counter() - started


def _finite(means: dict[str, float], stage: Stage, epoch: int) -> dict[str, float]:
    broken = [name for name, value in means.items() if not math.isfinite(value)]
    if broken:
        raise RuntimeError(
            f"The loss term {', '.join(broken)} is not finite in epoch {epoch} of stage {stage.name}: "
            "lower the learning rate, set clip_grad_norm, or check the numerical fields of the data."
        )
    return means


def _valid_score(metrics: dict[str, float], name: str) -> float:
    if name not in metrics:
        raise UserError(f"valid_metric is {name!r}: use one of {', '.join(metrics)}.")
    if math.isnan(metrics[name]):
        raise UserError(f"valid_metric {name!r} is undefined on the validation rows: use AUC or LogLoss.")
    return metrics[name]
