"""What a sweep leaves: tables of its runs, why a run is not in them, and the winners of its searches."""

from collections.abc import Iterable
from pathlib import Path

import yaml
from optuna.trial import FrozenTrial, TrialState

from recbole_nif.config_parsing import expand_dots, text_values
from recbole_nif.publish.command import document
from recbole_nif.publish.runs import RESULT_FILE, read_runs, tables_of
from recbole_nif.publish.tables import markdown
from recbole_nif.run_folder import write_text
from recbole_nif.sweep.ledger import ERROR, FOLDER, Ledger
from recbole_nif.sweep.plan import Part, Sweep

RESULTS = "results.md"


def write_tables(sweep: Sweep, ledger: Ledger) -> Path:
    """Writes ``results.md``: tables as of ``recbole-nif results``, then what has no result and why."""
    folders, absent = [], [(name, "not implemented") for name in sweep.missing]
    for part in sweep.parts:
        trials = ledger.trials(part)
        for trial in trials:
            here = sweep.folder / trial.user_attrs.get(FOLDER, "-")
            if (here / RESULT_FILE).is_file():
                folders.append(here)
            else:
                absent.append((part.run(trial.params).label, _why_absent(trial)))
        if len(trials) < part.places:
            absent.append((part.label, f"{part.places - len(trials)} runs not begun"))
    parts = [document(tables_of(read_runs(dict.fromkeys(folders)))).strip()] if folders else []
    parts += ["## Without a result", markdown(("run", "why"), absent)] if absent else []
    write_text(sweep.folder / RESULTS, "\n\n".join(parts) + "\n")
    return sweep.folder / RESULTS


def _why_absent(trial: FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return f"failed: {trial.user_attrs.get(ERROR) or 'its process was killed'}"
    words = {TrialState.PRUNED: "pruned", TrialState.COMPLETE: "done on another machine"}
    return words.get(trial.state, trial.state.name.lower())


def write_winners(sweep: Sweep, ledger: Ledger, targets: Iterable[Path]) -> list[Path]:
    """Writes the best values of every search as ``<Model>-<dataset>.yaml`` into each folder of ``targets``.

    With several splits every split has a folder of its own: scores on different rows do not compare.
    """
    best: dict[tuple[str, str, str], tuple[FrozenTrial, Part]] = {}
    sign = -1 if sweep.direction == "minimize" else 1
    for part in sweep.parts:
        finished = [trial for trial in ledger.trials(part) if trial.state == TrialState.COMPLETE]
        for trial in finished if part.searched else []:
            place = (part.split, part.model, part.dataset)
            if place not in best or sign * trial.value > sign * best[place][0].value:
                best[place] = (trial, part)
    several = len({part.split for part in sweep.parts}) > 1
    files = []
    for target in targets:
        for (split, model, dataset), (trial, part) in best.items():
            file = (target / split if several else target) / f"{model.rpartition(':')[2]}-{dataset}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, _winner(sweep, trial, part))
            files.append(file)
    return files


def _winner(sweep: Sweep, trial: FrozenTrial, part: Part) -> str:
    found = yaml.safe_dump(expand_dots(text_values(trial.params), "the sweep"), sort_keys=True)
    score = f"{sweep.metric} {trial.value:.4f} on the validation rows"
    return f"# Found by the sweep {sweep.name}: {score}, the best of at most {part.places} runs.\n{found}"
