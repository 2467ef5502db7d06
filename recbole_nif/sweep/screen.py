"""What a sweep shows: the list of its runs beforehand, and one screen while it goes on."""

import statistics
from collections import Counter
from functools import cache
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from recbole_nif.publish.text import markdown
from recbole_nif.results import RESULT_FILE, read_result, seconds_of
from recbole_nif.sweep.ledger import ERROR, FOLDER, Ledger
from recbole_nif.sweep.plan import Part, Sweep

UNKNOWN = "unknown"
SHOWN_ERRORS = 3


class Durations:
    """Seconds that finished runs of a sweep took, by model and dataset."""

    def __init__(self, folder: Path):
        self._seconds: dict[tuple[str, str], list[float]] = {}
        for file in folder.glob(f"*/{RESULT_FILE}"):
            what, seconds = _took(file)
            self._seconds.setdefault(what, []).append(seconds)

    def of(self, part: Part) -> float | None:
        """The mean of one run's seconds, None if no such run has finished."""
        seconds = self._seconds.get((part.model, part.dataset))
        return statistics.mean(seconds) if seconds else None

    def left(self, runs: list[tuple[Part, int]], processes: int = 1) -> str:
        """In words, how long so many runs take."""
        runs = [(part, count) for part, count in runs if count]
        known = [count * self.of(part) for part, count in runs if self.of(part) is not None]
        unknown = sum(count for part, count in runs if self.of(part) is None)
        words = [f"about {_time(sum(known) / processes)}"] if known else []
        words += [f"{UNKNOWN} for {unknown} runs"] if unknown else []
        return " and ".join(words) or "none"


@cache
def _took(file: Path) -> tuple[tuple[str, str], float]:
    """Model and dataset of a finished run, and its seconds, those before an interruption included."""
    record = read_result(file)
    return (record["model"], record["dataset"]), seconds_of(record)


def listing(sweep: Sweep, ledger: Ledger | None = None) -> str:
    """The runs of a sweep, what has become of them, and how long the others take.

    ledger: of a sweep that was begun: what its searches have done.
    """
    durations, lines, left = Durations(sweep.folder), {}, []
    for part in sweep.parts:
        seconds = durations.of(part)
        guess = UNKNOWN if seconds is None else f"about {_time(seconds)}"
        if part.searched:
            done = sum(trial.state.is_finished() for trial in ledger.trials(part)) if ledger else 0
            what = f"search of {', '.join(part.space)}: up to {part.places} runs"
            what += f", {done} done" if done else ""
            lines[part.study] = [part.label, what, f"{guess} each" if done < part.places else ""]
            left.append((part, part.places - done))
            continue
        runs = [run for run in map(part.run, part.points()) if run.key not in lines]
        for run in runs:
            done = (sweep.folder / run.key / RESULT_FILE).is_file()
            lines[run.key] = [run.label, "done" if done else "to do", "" if done else guess]
            left.append((part, int(not done)))
    absent = [[name, "not implemented", ""] for name in sweep.missing]
    table = markdown(("run", "state", "time"), [*lines.values(), *absent])
    count = sum(number for _, number in left)
    return f"{heading(sweep)}\n\n{table}\n\n{count} runs to do; time in one process: {durations.left(left)}."


def heading(sweep: Sweep) -> str:
    """Name and description."""
    return f"Sweep {sweep.name}" + (f": {sweep.description}" if sweep.description else "")


def progress(sweep: Sweep, ledger: Ledger) -> list[str]:
    """One screen: how many runs are done, running, failed and left, the best so far, the time left."""
    trials = {part.study: ledger.trials(part) for part in sweep.parts}
    states = Counter(trial.state.name for part in trials.values() for trial in part)
    places = sum(part.places for part in sweep.parts)
    left = [
        (part, part.places - sum(t.state.is_finished() for t in trials[part.study])) for part in sweep.parts
    ]
    counts = [
        f"{states['COMPLETE'] + states['PRUNED']} of {places} done",
        f"{states['PRUNED']} of them pruned" if states["PRUNED"] else "",
        f"{states['RUNNING']} running",
        f"{states['FAIL']} failed",
        f"{len(sweep.missing)} not implemented" if sweep.missing else "",
        f"time left: {Durations(sweep.folder).left(left, max(1, states['RUNNING']))}",
    ]
    lines = [heading(sweep), ", ".join(filter(None, counts))]
    lines += best_so_far(sweep, trials)
    errors = [f"failed: {what}: {why}" for part in trials.values() for what, why in map(_error, part) if why]
    return lines + errors[-SHOWN_ERRORS:]


def best_so_far(sweep: Sweep, trials: dict[str, list[FrozenTrial]]) -> list[str]:
    """A line for each dataset and split with a finished run."""
    choose = min if sweep.direction == "minimize" else max
    finished: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for part in sweep.parts:
        for trial in trials[part.study]:
            if trial.state == TrialState.COMPLETE:
                place = finished.setdefault((part.dataset, part.split), [])
                place.append((trial.value, part.run(trial.params).label))
    best = [choose(runs) for runs in finished.values()]
    return [f"best {sweep.metric} on validation rows: {score:.4f}, {label}" for score, label in best]


def _error(trial: FrozenTrial) -> tuple[str, str | None]:
    failed = trial.state == TrialState.FAIL
    return trial.user_attrs.get(FOLDER, ""), trial.user_attrs.get(ERROR) if failed else None


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
