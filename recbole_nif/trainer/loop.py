"""The loop that runs every stage: epochs, validation, early stopping, saving, and going on where it stopped.

The batches and dropout of an epoch are a function of (seed, stage, epoch), so a stage that goes on from its
last saved state ends with the same numbers as one that was never interrupted.
"""

import logging
import math
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from recbole_nif.device import rng_state, set_rng_state
from recbole_nif.errors import Diverged, UserError
from recbole_nif.trainer.engine import Engine
from recbole_nif.trainer.interrupt import StopRequest
from recbole_nif.trainer.progress import Meter, Scalars, bar, numbers
from recbole_nif.trainer.stage_files import StageFiles
from recbole_nif.trainer.stages import SMALLER_IS_BETTER, EarlyStopping, Stage, StageReport

logger = logging.getLogger(__name__)


def run_stage(
    stage: Stage,
    config,
    *,
    folder: Path | None,
    scalars: Scalars,
    show_progress: bool = False,
    verbose: bool = True,
    callback: Callable[[int, float], None] | None = None,
    resume: bool = False,
    data: int | None = None,
) -> StageReport:
    """Trains ``stage`` and leaves its module with the best weights.

    Args:
        folder: where ``<stage>-best.pt`` and ``<stage>-last.pt`` go; None keeps the best weights in memory.
        scalars: TensorBoard.
        show_progress: whether to draw progress bars.
        verbose: whether to log every epoch.
        callback: called with (epoch, validation score) after every evaluation, as RecBole's ``callback_fn``.
        resume: whether to go on from ``<stage>-last.pt`` if it is there.
        data: fingerprint of the data, which must be the same on resuming.

    Raises:
        Diverged: the loss is not finite.
        UserError: the validation metric is unknown or undefined; a checkpoint cannot be written or does not
            belong to this run; a process has no batch in an epoch.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after saving.
    """
    loop = _Loop(stage, config, StageFiles(config, stage.name, stage.module, folder, data))
    if resume:
        loop.resume()
    if stage.settings.epochs < 1 and not loop.complete:
        loop.evaluate_only()
    with StopRequest(config) as stop:
        while not loop.finished:
            loop.train_epoch(stop, show_progress)
            loop.end_epoch(scalars, logging.INFO if verbose else logging.DEBUG, callback)
            stop.raise_if_requested()
    return loop.finish()


class _Loop:
    """A stage in training; ``state`` is what ``resume`` needs beside the weights.

    Attributes:
        epoch, step: the next batch to train.
        spent: seconds of training in the present epoch.
    """

    def __init__(self, stage: Stage, config, files: StageFiles):
        self.stage, self.config, self.files = stage, config, files
        self.settings = settings = stage.settings
        self.engine = Engine(config, stage.module, stage.loss_terms, stage.param_groups())
        bigger = settings.valid_metric not in SMALLER_IS_BETTER
        self.stopping = EarlyStopping(settings.stopping_step, bigger)
        self.report = StageReport(stage.name, stage.unit, settings.valid_metric)
        self.validates = stage.validates and settings.eval_step > 0
        self.meter, self.epoch, self.step, self.spent = Meter(), 0, 0, 0.0
        self.rng, self.complete = None, False
        self.clock, self.earlier = time.perf_counter(), 0.0

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to train."""
        return self.epoch >= self.settings.epochs or self.stopping.stop

    # -- an epoch

    def train_epoch(self, stop: StopRequest, show_progress: bool) -> None:
        """Trains what is left of the present epoch; saves every ``save_step`` steps and on a stop request."""
        stage = self.stage
        stage.module.train()
        batches = self._seeded_batches()
        if not len(stage):  # of this epoch: shards are dealt anew in each
            raise UserError(
                f"In epoch {self.epoch} of stage {stage.name} a process has no batch: start fewer processes, "
                "or use more data."
            )
        started, before = time.perf_counter(), self.spent
        every, save_step = self.config["log_every"] or 50, self.config["save_step"]
        progress = bar(batches, len(stage), self.step, f"{stage.name} {self.epoch}", show_progress)
        for batch in progress:
            self.meter.add(self.engine.step(batch))
            self.step += 1
            self.spent = before + time.perf_counter() - started
            if self.step % every == 0:
                means = self._finite_means()
                speed = stage.rows() * self.step / len(stage) / self.spent
                progress.set_postfix_str(f"{numbers(means)}  {speed:,.0f} {stage.unit}/s", refresh=False)
            if stop.requested or (save_step and self.step % save_step == 0 and self.step < len(stage)):
                self.save()
                stop.raise_if_requested()

    def end_epoch(self, scalars: Scalars, level: int, callback: Callable[[int, float], None] | None) -> None:
        """Validates, keeps the weights if they are the best so far, and moves on to the next epoch."""
        stage, settings, report, epoch = self.stage, self.settings, self.report, self.epoch
        losses, metrics, score = self._finite_means(), None, None
        self.engine.share_statistics()
        if self.validates and (epoch + 1) % min(settings.eval_step, settings.epochs) == 0:
            metrics = self._validate()
            score = _valid_score(metrics, settings.valid_metric)
        line = (
            f"{stage.name} epoch {epoch}: {numbers(losses)} | {stage.rows() / self.spent:,.0f} {stage.unit}/s"
        )
        report.count_epoch(epoch, stage.rows(), self.spent, losses)
        scalars.add(f"{stage.name}/loss", losses, epoch)
        best = not self.validates
        if metrics is not None:
            best = self.stopping.update(score, epoch)
            report.curve[-1]["valid"] = metrics
            scalars.add(f"{stage.name}/valid", metrics, epoch)
            shown = {name: metrics[name] for name in stage.headline or metrics if name in metrics}
            line += f" | valid {numbers(shown)}{' (best)' if best else ''}"
            if callback is not None:
                callback(epoch, score)
        logger.log(level, line)
        if best:
            report.best_epoch, report.best_score, report.valid = epoch, self.stopping.best, metrics
            with self.engine.averaged():
                self.files.keep(epoch, self.stopping)
        self.epoch, self.step, self.spent, self.meter = epoch + 1, 0, 0.0, Meter()
        self.save()

    def _validate(self) -> dict[str, float]:
        try:
            with self.engine.averaged():
                return self.stage.evaluate()
        except KeyboardInterrupt:  # a second Ctrl-C; evaluation changes nothing, so nothing is lost
            self.save()
            raise

    def _seeded_batches(self) -> Iterator:
        """What is left of the epoch, with dropout a function of (seed, stage, epoch) whatever ran before."""
        seed = f"{self.config['seed']} {self.config['rank']} {self.stage.name} {self.epoch}"
        torch.manual_seed(zlib.crc32(seed.encode()))
        batches = iter(self.stage.batches(self.epoch, self.step))  # draws a number too
        if self.step and self.rng is not None:
            set_rng_state(self.config["device"], self.rng)
        elif self.step:
            torch.manual_seed(zlib.crc32(f"{seed} {self.step}".encode()))
        return batches

    def _finite_means(self) -> dict[str, float]:
        means = self.meter.means()
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise Diverged(
                f"The loss term {', '.join(broken)} is not finite in epoch {self.epoch} of stage "
                f"{self.stage.name}: lower the learning rate, set clip_grad_norm, or check the numerical "
                "fields of the data."
            )
        return means

    # -- the ends

    def evaluate_only(self) -> None:
        """With no epochs: the initial weights are the best ones."""
        self.files.keep(-1, self.stopping)
        if self.validates:
            self.report.valid = self._validate()
            self.report.best_score = _valid_score(self.report.valid, self.settings.valid_metric)

    def finish(self) -> StageReport:
        """Restores the best weights and closes the report."""
        if not self.complete:
            self.report.checkpoint = None if self.files.best is None else self.files.best.name
            self.report.facts = self.stage.facts(self.report.valid)
            self.complete = True
            self.save()
        self.files.restore_best()
        return self.report

    def _seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.clock

    # -- saving and resuming

    def save(self) -> None:
        """Stores everything that ``resume`` reads."""
        self.report.seconds = self._seconds()
        self.files.save_last(
            {
                "epoch": self.epoch,
                "step": self.step,
                "steps": len(self.stage),
                "processes": self.config["world_size"] or 1,
                "complete": self.complete,
                "spent": self.spent,
                "losses": self.meter.state(),
                "rng": rng_state(self.config["device"]),
                "early_stop": self.stopping.record(),
                "report": self.report.record(),
                **self.engine.state(),
            }
        )

    def resume(self) -> None:
        """Goes on from the last saved state, if there is one."""
        state = self.files.load_last()
        if state is None:
            return
        self.epoch, self.step, self.complete = state["epoch"], state["step"], state["complete"]
        self.spent = state["spent"]
        if state.get("processes", 1) == (self.config["world_size"] or 1) == 1:
            self.rng = state["rng"]  # of several processes only the first one's is known
        else:  # batches of all processes together are as large as ever, up to what does not divide
            self.step = self.step * len(self.stage) // state.get("steps", len(self.stage))
        self.meter.load(state["losses"], self.config["device"])
        self.stopping.load(state["early_stop"])
        self.report = StageReport.read(state["report"])
        self.engine.load(state)
        self.earlier = self.report.seconds
        if self.complete:
            logger.info("stage %s was complete: its best weights are loaded", self.stage.name)
        else:
            self.report.resumed.append({"epoch": self.epoch, "step": self.step})
            logger.info("stage %s goes on in epoch %d at step %d", self.stage.name, self.epoch, self.step)


def _valid_score(metrics: dict[str, float], name: str) -> float:
    if name not in metrics:
        raise UserError(f"valid_metric is {name!r}: use one of {', '.join(metrics)}.")
    if math.isnan(metrics[name]):
        raise UserError(
            f"valid_metric {name!r} is undefined on the validation rows: use LogLoss or another split."
        )
    return metrics[name]
