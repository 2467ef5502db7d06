"""What a report is made of: run folders, records, and folders of many runs such as a sweep's."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from recbole_nif.config_parsing import load_yaml
from recbole_nif.errors import UserError
from recbole_nif.publish.names import settings_of
from recbole_nif.publish.runs import CONFIG_FILE, Absent, Run, read_runs
from recbole_nif.results import RESULT_FILE

ACCOUNT = "runs.json"  # in a sweep's folder: all its runs, see ``sweep/outcome.py``
NOT_BEGUN, NOT_FINISHED = "not begun", "not finished"


def read_inputs(paths: Iterable[str | Path]) -> tuple[list[Run], list[Absent]]:
    """The runs that have a result, and those that have none.

    Args:
        paths: run folders, result.json files, folders of sweeps, or folders with runs in them.

    Raises:
        UserError: a path is none of these, or a result is of another schema.
    """
    found = [item for path in paths for item in _read(Path(path))]
    return [run for run in found if isinstance(run, Run)], [run for run in found if isinstance(run, Absent)]


def _read(path: Path) -> list[Run | Absent]:
    if not path.is_dir() or _is_run(path):
        return [_read_run(path)]
    if (path / ACCOUNT).is_file():
        return _read_sweep(path)
    inside = sorted(folder for folder in path.iterdir() if _is_run(folder))
    if not inside:
        raise UserError(f"{path} holds no run: give run folders, their {RESULT_FILE}, or a sweep's folder.")
    return [_read_run(folder) for folder in inside]


def _is_run(folder: Path) -> bool:
    if (folder / RESULT_FILE).is_file() or not (folder / CONFIG_FILE).is_file():
        return (folder / RESULT_FILE).is_file()
    from recbole_nif.export.read import is_export  # which imports RecBole

    return not is_export(folder)


def _read_run(path: Path) -> Run | Absent:
    if not path.is_dir() or (path / RESULT_FILE).is_file():
        return read_runs([path])[0]
    values = load_yaml(path / CONFIG_FILE)
    if not {"model", "dataset"} <= values.keys():
        raise UserError(f"{path} holds no run: its {CONFIG_FILE} names no model and dataset.")
    model, dataset = values["model"], values["dataset"]
    try:
        settings = settings_of(model, dataset, values)
    except UserError:  # a model that cannot be imported from here
        settings = {}
    return Absent(model, dataset, settings, NOT_FINISHED, values.get("split_preset"), values.get("seed"))


def _read_sweep(folder: Path) -> list[Run | Absent]:
    try:
        account = json.loads((folder / ACCOUNT).read_text(encoding="utf-8"))
        entries = [dict(entry) for entry in account["runs"]]
        names = [entry.pop("folder") for entry in entries]
        reasons = [entry.pop("why") for entry in entries]
        absent = [Absent(**entry, why=why) for entry, why in zip(entries, reasons, strict=True)]
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{folder / ACCOUNT} is no account of a sweep: start the sweep again.") from None
    runs: list[Run | Absent] = []
    for name, run in zip(names, absent, strict=True):
        begun = name is not None and (folder / name).is_dir()
        if begun and (folder / name / RESULT_FILE).is_file():
            runs.append(_read_run(folder / name))
        else:
            runs.append(replace(run, why=NOT_FINISHED) if begun and run.why == NOT_BEGUN else run)
    return runs
