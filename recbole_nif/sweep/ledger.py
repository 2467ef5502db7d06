"""The account of a sweep's runs: one optuna study for each part, in a storage that processes share.

A run is a trial. Optuna numbers trials, and its grid sampler gives the n-th trial the n-th point, so that no
two processes do the same. What it leaves open is a trial whose process was killed: with a journal file, the
default, whoever does a run holds a lock beside the file, which the operating system frees when the process is
gone; with a database, optuna's heartbeats tell after a few minutes. Either way the trial is closed and queued
again with its values, so that its run goes on in its old folder.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from recbole_nif.errors import UserError
from recbole_nif.sweep.plan import Part, Sweep, suggest

BEAT = 60  # seconds between two heartbeats in a database
GRACE = 240  # seconds without one after which a trial counts as dead

# Attributes of a trial
ERROR = "error"  # one line, where its run failed; a failed trial without it lost its process
SURPLUS = "surplus"  # several machines asked a database for the last place at once; it was not run
FOLDER = "folder"  # name of its run's folder


class RunFailed(Exception):
    """A run ended with an error, told in one line; the sweep goes on."""


class Ledger:
    """The studies of a sweep.

    Args:
        place: an optuna URL such as ``sqlite:///sweep.db``, or the path of a journal file.

    Raises:
        UserError: the storage cannot be opened.
    """

    def __init__(self, sweep: Sweep, place: str):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.sweep, self.place = sweep, place
        self._requeue = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
        self._locks = None if "://" in place else Path(f"{place}.locks").absolute()
        try:
            storage = _open(place)
            self._studies = {part.study: self._open_study(storage, part) for part in sweep.parts}
            if self._locks:
                self._locks.mkdir(exist_ok=True)
        except Exception as error:  # of the file system, a database's driver or SQLAlchemy
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UserError(
                f"Cannot use the storage {place} ({reason.rstrip('.')}): name a sweep's file, or the "
                "URL of a database that answers."
            ) from error

    def _open_study(self, storage: BaseStorage, part: Part) -> Study:
        prunes = part.searched and self.sweep.prune
        return optuna.create_study(
            storage=storage,
            study_name=f"{self.sweep.name}: {part.study}",
            direction=self.sweep.direction,
            pruner=optuna.pruners.MedianPruner(n_warmup_steps=1) if prunes else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )

    def trials(self, part: Part) -> list[FrozenTrial]:
        """The part's trials, without those that another one has replaced.

        Of two that replace the same one, which machines with a database queued at once, the first counts.
        """
        with self._storage_told_of():
            trials = self._studies[part.study].get_trials(deepcopy=False)
        histories = {trial.number: tuple(self._requeue.retry_history(trial)) for trial in trials}
        first: dict[tuple[int, ...], int] = {}
        for number, history in histories.items():
            first.setdefault(history, number)
        replaced = {number for history in histories.values() for number in history}
        return [
            trial
            for trial in trials
            if trial.number not in replaced
            and not trial.user_attrs.get(SURPLUS)
            and (not histories[trial.number] or first[histories[trial.number]] == trial.number)
        ]

    def take(self, part: Part, work: Callable[[Trial, dict[str, Any]], float]) -> bool:
        """Does one run of the part, if there is one to do.

        Args:
            work: does the run of a trial with the values of the part's space, and returns its score.

        Returns:
            whether there was one, be it that it failed.

        Raises:
            UserError: the storage does not answer any more.
        """
        desk = self._lock("claim")  # one process after another: none sees half of another's claim

        def objective(trial: Trial) -> float:
            trial.set_user_attr(ERROR, None)  # of the trial that this one replaces
            values = {name: suggest(trial, name, options) for name, options in part.space.items()}
            held.enter_context(self._lock(_lock_name(part, trial.number)))
            desk.release()
            numbers = [other.number for other in self.trials(part)]
            if trial.number not in numbers[: part.places]:
                trial.set_user_attr(SURPLUS, True)
                raise optuna.TrialPruned
            try:
                return work(trial, values)
            except RunFailed as error:
                trial.set_user_attr(ERROR, str(error))
                raise

        with self._storage_told_of(), ExitStack() as held:
            held.enter_context(desk)
            self._recover(part)
            if not self._has_place(part):
                return False
            study = self._studies[part.study]
            study.sampler = _sampler(part, len(study.get_trials(deepcopy=False)))
            study.optimize(objective, n_trials=1, catch=RunFailed)
        return True

    def retry_failed(self) -> None:
        """Queues again what failed with an error."""
        for part in self.sweep.parts:
            with self._lock("claim"):
                for trial in self.trials(part):
                    if trial.state == TrialState.FAIL:
                        self._requeue(self._studies[part.study], trial)

    def _has_place(self, part: Part) -> bool:
        trials = self.trials(part)
        return len(trials) < part.places or any(trial.state == TrialState.WAITING for trial in trials)

    def _recover(self, part: Part) -> None:
        """Queues again what lost its process."""
        study = self._studies[part.study]
        study.sampler = optuna.samplers.RandomSampler()  # a grid's would stop a search that is not going on
        optuna.storages.fail_stale_trials(study)  # of a database
        for trial in self.trials(part):
            if trial.state == TrialState.RUNNING and self._is_dead(part, trial):
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        for trial in self.trials(part):
            if trial.state == TrialState.FAIL and not trial.user_attrs.get(ERROR):
                self._requeue(study, trial)

    def _is_dead(self, part: Part, trial: FrozenTrial) -> bool:
        if self._locks is None:
            return False  # heartbeats tell
        try:
            with self._lock(_lock_name(part, trial.number)).acquire(timeout=0):
                return True
        except Timeout:
            return False

    @contextmanager
    def _storage_told_of(self) -> Iterator[None]:
        try:
            yield
        except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise UserError(
                f"The storage {self.place} does not answer any more ({reason}): when it does again, start "
                "the sweep again; what it has finished stays."
            ) from error

    def _lock(self, name: str) -> "FileLock | _NoLock":
        return FileLock(self._locks / f"{name}.lock") if self._locks else _NoLock()


class _NoLock(nullcontext):
    """Stands for a lock where machines share a database but no file system."""

    def release(self) -> None:
        """Nothing is held."""


def _open(place: str) -> BaseStorage:
    if "://" in place:
        return RDBStorage(place, heartbeat_interval=BEAT, grace_period=GRACE)
    path = Path(place).absolute()  # optuna's lock is a symbolic link to it, which breaks if it is relative
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


def _sampler(part: Part, trials: int) -> optuna.samplers.BaseSampler:
    """What chooses the values of the part's next trial, when there are so many trials."""
    if part.searched:
        # A seed of its own for every trial: processes that start together must not propose the same.
        return optuna.samplers.TPESampler(seed=part.seed + trials)
    choices = {name: list(options.choices) for name, options in part.space.items()}
    return optuna.samplers.GridSampler(choices, seed=0)


def _lock_name(part: Part, number: int) -> str:
    return f"{part.study.rpartition(' ')[2]}-{number}"
