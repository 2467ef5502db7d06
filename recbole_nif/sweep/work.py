"""A process's share of a sweep: it takes one run after another until none is left, here or elsewhere."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from recbole_nif.sweep.child import Pruned, train
from recbole_nif.sweep.ledger import FOLDER, Ledger
from recbole_nif.sweep.plan import Part, Sweep

POLL = 2.0  # seconds between two looks at runs of other processes, which may die


def work(sweep: Sweep, ledger: Ledger, show: Callable[[str], None]) -> None:
    """Does what is to be done, waits for the runs of other processes, and does them if those die.

    Args:
        show: called with a line on the run in hand whenever something has changed.
    """
    began = time.monotonic()
    while sweep.hours is None or time.monotonic() - began < 3600 * sweep.hours:
        if any(ledger.take(part, partial(_do, sweep, part, show)) for part in sweep.parts):
            continue
        if not _running_elsewhere(sweep, ledger):
            show("nothing is left to do")
            return
        show("waiting for runs of other processes")
        time.sleep(POLL)
    show("the hours of the budget are over")


def _do(sweep: Sweep, part: Part, show: Callable[[str], None], trial: Trial, values: dict[str, Any]) -> float:
    run = part.run(values)
    trial.set_user_attr(FOLDER, run.key)
    screens = sweep.folder / "screens"
    screens.mkdir(parents=True, exist_ok=True)

    def goes_on(epoch: int, score: float) -> bool:
        trial.report(score, epoch)
        show(f"{run.label}: epoch {epoch}, {sweep.metric} {score:.4f}")
        return not trial.should_prune()

    show(f"{run.label}: begins")
    try:
        return train(run.settings, sweep.folder / run.key, screens / f"{run.key}.log", goes_on)
    except Pruned:
        raise optuna.TrialPruned from None


def _running_elsewhere(sweep: Sweep, ledger: Ledger) -> bool:
    states = {trial.state for part in sweep.parts for trial in ledger.trials(part)}
    return bool(states & {TrialState.RUNNING, TrialState.WAITING})
