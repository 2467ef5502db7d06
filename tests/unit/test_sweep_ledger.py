"""The account of a sweep's runs: nothing twice, nothing lost, whoever dies. No run is trained here."""

import multiprocessing
import os
import signal
import sqlite3
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from recbole_nif.errors import UserError
from recbole_nif.sweep.ledger import ERROR, SURPLUS, Ledger, RunFailed
from recbole_nif.sweep.plan import Part, Sweep
from recbole_nif.sweep.work import _running_elsewhere

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
context = multiprocessing.get_context("fork")
GRID = {"x": CategoricalDistribution([1, 2, 3, 4]), "y": CategoricalDistribution(["a", "b", "c"])}


def make_part(space=GRID, searched=False, places=12, **others):
    values = {
        "model": "LR",
        "dataset": "toy",
        "split": "random",
        "seed": 1,
        "own": {},
        "settings": {},
        "base": {},
    }
    return Part(**values | others, space=space, searched=searched, places=places)


def make_sweep(*parts, prune=False, metric="AUC"):
    return Sweep("mine", Path(), "", list(parts), [], metric, prune, None)


def noted(folder, trial, values, pause=0.02):
    """Work that leaves a line in ``folder/begun`` and, at its end, one in ``folder/done``."""
    for moment in ("begun", "done"):
        with (folder / moment).open("a") as file:
            file.write(f"{sorted(values.items())}\n")
        time.sleep(pause if moment == "begun" else 0)
    return 0.5


def lines(file):
    return file.read_text().splitlines() if file.is_file() else []


def share(sweep, place, work):
    """What one process of a sweep does."""
    ledger = Ledger(sweep, place)
    while any(ledger.take(part, work) for part in sweep.parts) or _running_elsewhere(sweep, ledger):
        time.sleep(0.01)


def states(ledger, part):
    return Counter(trial.state for trial in ledger.trials(part))


def test_every_point_of_a_grid_is_done_once(tmp_path):
    sweep = make_sweep(make_part())
    share(sweep, str(tmp_path / "journal"), partial(noted, tmp_path))
    assert len(lines(tmp_path / "begun")) == 12 == len(set(lines(tmp_path / "done")))
    share(sweep, str(tmp_path / "journal"), partial(noted, tmp_path))  # started again
    assert len(lines(tmp_path / "begun")) == 12


@pytest.mark.parametrize("storage", ["{}/journal", "sqlite:///{}/account.db"])
def test_processes_with_one_storage_divide_the_runs(tmp_path, storage):
    sweep = make_sweep(make_part(), make_part(seed=2, base={"seed": 2}))
    place = storage.format(tmp_path)
    Ledger(sweep, place)  # a new database is not opened by several at once
    workers = [context.Process(target=share, args=(sweep, place, partial(noted, tmp_path))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert set(Counter(lines(tmp_path / "done")).values()) == {2}  # a point of each part
    assert len(lines(tmp_path / "begun")) == 24 == len(lines(tmp_path / "done"))


def test_what_a_killed_process_leaves_is_done_by_the_others(tmp_path):
    part = make_part()
    sweep, place = make_sweep(part), str(tmp_path / "journal")
    workers = [context.Process(target=share, args=(sweep, place, partial(noted, tmp_path))) for _ in range(2)]
    slow = context.Process(target=share, args=(sweep, place, partial(noted, tmp_path, pause=600)))
    slow.start()
    while not lines(tmp_path / "begun"):
        time.sleep(0.01)
    for worker in workers:
        worker.start()
    time.sleep(0.2)
    assert states(Ledger(sweep, place), part)[TrialState.RUNNING] >= 1  # nobody took it for dead
    os.kill(slow.pid, signal.SIGKILL)
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert len(lines(tmp_path / "done")) == 12 == len(set(lines(tmp_path / "done")))
    begun = Counter(lines(tmp_path / "begun"))
    assert sorted(begun.values()) == [1] * 11 + [2] and begun[lines(tmp_path / "begun")[0]] == 2
    assert states(Ledger(sweep, place), part) == {TrialState.COMPLETE: 12}


def test_the_last_run_of_a_grid_is_done_by_another_when_its_process_dies(tmp_path):
    part = make_part()
    sweep, place = make_sweep(part), str(tmp_path / "journal")
    ledger = Ledger(sweep, place)
    for _ in range(11):
        assert ledger.take(part, lambda trial, values: 0.5)
    dying = context.Process(target=share, args=(sweep, place, lambda trial, values: os._exit(9)))
    dying.start()
    dying.join(120)
    assert dying.exitcode == 9
    assert ledger.take(part, lambda trial, values: 0.5) and not ledger.take(part, noted)
    assert states(ledger, part) == {TrialState.COMPLETE: 12}


def test_an_interrupted_run_is_taken_up_again_first(tmp_path):
    part = make_part()
    ledger = Ledger(make_sweep(part), str(tmp_path / "journal"))
    seen = []

    def interrupted(trial, values):
        seen.append(values)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ledger.take(part, interrupted)
    assert ledger.take(part, lambda trial, values: seen.append(values) or 0.5)
    assert seen[0] == seen[1] and states(ledger, part) == {TrialState.COMPLETE: 1}


def test_a_failing_run_is_recorded_with_its_error_and_only_repeated_on_request(tmp_path):
    part = make_part()
    ledger = Ledger(make_sweep(part), str(tmp_path / "journal"))

    def failing(trial, values):
        if values == {"x": 3, "y": "b"}:
            raise RunFailed("no memory left")
        return 0.5

    while ledger.take(part, failing):
        pass
    assert states(ledger, part) == {TrialState.COMPLETE: 11, TrialState.FAIL: 1}
    (failed,) = [trial for trial in ledger.trials(part) if trial.state == TrialState.FAIL]
    assert failed.params == {"x": 3, "y": "b"} and failed.user_attrs[ERROR] == "no memory left"
    ledger.retry_failed()
    assert ledger.take(part, lambda trial, values: 0.5) and not ledger.take(part, failing)
    assert states(ledger, part) == {TrialState.COMPLETE: 12}


def test_an_error_of_ours_is_not_dressed_up_as_a_failed_run(tmp_path):
    part = make_part()
    ledger = Ledger(make_sweep(part), str(tmp_path / "journal"))
    with pytest.raises(ZeroDivisionError):
        ledger.take(part, lambda trial, values: 1 / 0)


def test_a_place_asked_for_by_two_machines_at_once_is_taken_by_the_first(tmp_path):
    """Without locks two processes can both see the last place free; then one trial too many is begun."""
    part = make_part(space={}, places=1)
    sweep, place = make_sweep(part), f"sqlite:///{tmp_path}/account.db"
    first, second = Ledger(sweep, place), Ledger(sweep, place)

    def meanwhile(trial, values):
        second._has_place = lambda part: True  # what it saw a moment earlier
        assert second.take(part, lambda trial, values: pytest.fail("it was done twice"))
        return 0.5

    assert first.take(part, meanwhile)
    (trial,) = first.trials(part)
    assert trial.state == TrialState.COMPLETE and trial.number == 0
    everything = first._studies[part.study].trials
    assert [t.user_attrs.get(SURPLUS) for t in everything] == [None, True]


def test_a_dead_run_that_two_machines_queue_again_at_once_is_done_once(tmp_path):
    """Without locks both can see it dead; the one of the two that comes second is not run."""
    part = make_part()
    ledger = Ledger(make_sweep(part), f"sqlite:///{tmp_path}/account.db")
    with pytest.raises(KeyboardInterrupt):
        ledger.take(part, lambda trial, values: (_ for _ in ()).throw(KeyboardInterrupt))
    study = ledger._studies[part.study]
    (dead,) = study.trials
    for _ in range(2):
        ledger._requeue(study, dead)
    assert [trial.number for trial in ledger.trials(part)] == [1]
    share(make_sweep(part), ledger.place, partial(noted, tmp_path, pause=0))
    assert len(lines(tmp_path / "begun")) == 12 == len(set(lines(tmp_path / "done")))
    assert [trial.number for trial in study.trials if trial.user_attrs.get(SURPLUS)] == [2]


def test_a_search_stops_hopeless_runs_by_the_median_and_keeps_within_its_budget(tmp_path):
    part = make_part({"x": FloatDistribution(0, 1)}, searched=True, places=9)
    ledger = Ledger(make_sweep(part, prune=True), str(tmp_path / "journal"))

    def curve(trial, values):
        score = 0.9 if trial.number < 5 else 0.5  # the first five runs are never stopped
        for epoch in range(4):
            trial.report(score, epoch)
            if trial.should_prune():
                assert epoch == 1  # one epoch is for warming up
                raise optuna.TrialPruned
        return score

    while ledger.take(part, curve):
        pass
    assert states(ledger, part) == {TrialState.COMPLETE: 5, TrialState.PRUNED: 4}
    assert len({trial.params["x"] for trial in ledger.trials(part)}) == 9


def test_a_part_that_is_changed_starts_anew_and_the_others_stay(tmp_path):
    place, work = str(tmp_path / "journal"), partial(noted, tmp_path, pause=0)
    share(make_sweep(make_part(places=12)), place, work)
    changed = make_part({"x": CategoricalDistribution([1, 2])}, places=2)
    share(make_sweep(make_part(places=12), changed), place, work)
    assert len(lines(tmp_path / "done")) == 14


@pytest.mark.parametrize(
    "place", ["{}/file/journal", "sqlite:////nowhere/a.db", "mysql://nobody@localhost/x"]
)
def test_a_storage_that_cannot_be_opened_is_told_in_one_sentence(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot use the storage .* name a sweep's file"):
        Ledger(make_sweep(make_part()), place.format(tmp_path))


def test_a_storage_that_another_program_has_locked_is_told_in_one_sentence(tmp_path):
    part, place = make_part(), f"sqlite:///{tmp_path}/a.db?timeout=0.1"
    ledger = Ledger(make_sweep(part), place)
    with sqlite3.connect(tmp_path / "a.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(UserError, match="Cannot use the storage .*database is locked"):
            Ledger(make_sweep(part), place)
        with pytest.raises(UserError, match="does not answer any more .*database is locked"):
            ledger.take(part, lambda trial, values: pytest.fail("a run was begun"))
    assert ledger.take(part, lambda trial, values: 0.5)


def test_the_storage_of_another_sweep_is_shared_and_neither_sees_the_runs_of_the_other(tmp_path):
    place, other = str(tmp_path / "journal"), make_part(places=3)
    theirs = Ledger(replace(make_sweep(other), name="theirs"), place)
    while theirs.take(other, lambda trial, values: 0.1):
        pass
    ours = Ledger(make_sweep(make_part()), place)
    while ours.take(make_part(), lambda trial, values: 0.5):
        pass
    assert [trial.value for trial in theirs.trials(other)] == [0.1] * 3
    assert [trial.value for trial in ours.trials(make_part())] == [0.5] * 12
