"""What a sweep leaves: an account and tables of its runs, and the winners of its searches."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState

from recbole_nif.config_parsing import deep_merge, expand_dots, plain, text_values
from recbole_nif.errors import UserError
from recbole_nif.publish.document import Report
from recbole_nif.publish.inputs import ACCOUNT, NOT_BEGUN, read_inputs
from recbole_nif.publish.links import Links
from recbole_nif.publish.markdown import as_markdown
from recbole_nif.publish.names import settings_of
from recbole_nif.run_folder import write_json, write_text
from recbole_nif.sweep.ledger import ERROR, FOLDER, Ledger
from recbole_nif.sweep.plan import Part, Run, Sweep

RESULTS = "results.md"
ACCOUNT_SCHEMA = 1


def make_folder(folder: Path, option: str) -> None:
    """Makes a folder in which files can be written, before hours of work end there.

    Raises:
        UserError: it cannot be; ``option`` of the command line names another one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"Cannot write into the folder {folder} ({error.strerror}): free space or set {option}."
        ) from None


def write_account(sweep: Sweep, ledger: Ledger) -> Path:
    """Writes ``runs.json``: every run that the sweep consists of, and why it has no result, if it has none.

    ``recbole-nif report FOLDER`` reads it, whatever storage the sweep has.
    """
    runs: dict[str, dict[str, Any]] = {}
    left: list[dict[str, Any]] = []
    for part in sweep.parts:
        trials = ledger.trials(part)
        for run in [] if part.searched else map(part.run, part.points()):
            runs.setdefault(run.key, _entry(part, run, NOT_BEGUN))
        for trial in trials:
            if FOLDER in trial.user_attrs:
                run = part.run(trial.params)
                runs[trial.user_attrs[FOLDER]] = _entry(part, run, _why_absent(trial))
        if part.searched and len(trials) < part.places:
            searched = _entry(part, part.run({}), f"{part.places - len(trials)} runs not begun")
            told = {key: value for key, value in searched["settings"].items() if key not in part.space}
            told |= {"search": ", ".join(part.space)}
            left.append(searched | {"folder": None, "settings": told})
    left += [_not_implemented(*name.rsplit(" ", 1)) for name in sweep.missing]
    write_json(sweep.folder / ACCOUNT, {"schema": ACCOUNT_SCHEMA, "runs": [*runs.values(), *left]})
    return sweep.folder / ACCOUNT


def _entry(part: Part, run: Run, why: str) -> dict[str, Any]:
    return {
        "model": part.model,
        "dataset": part.dataset,
        "split": part.split,
        "seed": part.seed,
        "settings": settings_of(part.model, part.dataset, run.config),
        "folder": run.key,
        "why": why,
    }


def _not_implemented(model: str, dataset: str) -> Mapping[str, Any]:
    known = {"model": model, "dataset": dataset, "split": None, "seed": None, "settings": {}}
    return known | {"folder": None, "why": "not implemented"}


def write_tables(sweep: Sweep) -> Path:
    """Writes ``results.md``, the tables of ``recbole-nif report`` on the sweep's folder and its account."""
    blocks = Report.of(*read_inputs([sweep.folder])).blocks()
    write_text(sweep.folder / RESULTS, as_markdown(blocks, Links()))
    return sweep.folder / RESULTS


def _why_absent(trial: FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return f"failed: {trial.user_attrs.get(ERROR) or 'its process was killed'}"
    words = {TrialState.PRUNED: "pruned", TrialState.COMPLETE: "done on another machine"}
    return words.get(trial.state, trial.state.name.lower())


def write_winners(sweep: Sweep, ledger: Ledger, targets: Iterable[Path]) -> list[Path]:
    """Writes the best values of every search as ``<Model>-<dataset>.yaml`` into each folder of ``targets``.

    They are those that were searched, with what the model's entry fixes besides. With several splits every
    split has a folder of its own: scores on different rows do not compare.

    Raises:
        UserError: a file cannot be written.
    """
    best: dict[tuple[str, str, str], tuple[FrozenTrial, Part]] = {}
    sign = -1 if sweep.direction == "minimize" else 1
    for part in sweep.parts:
        finished = [trial for trial in ledger.trials(part) if trial.state == TrialState.COMPLETE]
        for trial in finished if part.searched else []:
            place = (part.split, part.model, part.dataset)
            if place not in best or sign * trial.value > sign * best[place][0].value:
                best[place] = (trial, part)
    several, files = several_splits(sweep), []
    for target in targets:
        for (split, model, dataset), (trial, part) in best.items():
            file = (target / split if several else target) / f"{model.rpartition(':')[2]}-{dataset}.yaml"
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_text(file, _winner(sweep, trial, part))
            except OSError as error:
                raise UserError(
                    f"Cannot write {file} ({error.strerror}): free space, then give the same command again; "
                    "it trains nothing twice."
                ) from None
            files.append(file)
    return files


def several_splits(sweep: Sweep) -> bool:
    """Whether runs of a sweep are tested on different rows."""
    return len({part.split for part in sweep.parts}) > 1


def _winner(sweep: Sweep, trial: FrozenTrial, part: Part) -> str:
    fixed, searched = (expand_dots(some, "the sweep") for some in (part.own, text_values(trial.params)))
    found = yaml.safe_dump(deep_merge(plain(fixed), searched), sort_keys=True)
    score = f"{sweep.metric} {trial.value:.4f} on the validation rows"
    return f"# Found by the sweep {sweep.name}: {score}, the best of at most {part.places} runs.\n{found}"
