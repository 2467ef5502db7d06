"""The evidence of a report: a copy of every run's record, under a name that tells the run."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_nif.errors import UserError
from recbole_nif.publish.names import INDIFFERENT, setting, top
from recbole_nif.publish.runs import Run, Table
from recbole_nif.run_folder import write_json

LONGEST_VARIANT = 80  # characters; some systems bear paths of 260 in all


def collect(tables: Sequence[Table], folder: Path) -> dict[Run, Path]:
    """Copies the record of every run in the tables to ``<Model>[-variant]-<split>-s<seed>.json``.

    A long variant is cut, with a digest of the whole.

    Raises:
        UserError: two runs would have the same name.
    """
    runs = [run for table in tables for row in table.rows for run in row.runs]
    named: dict[str, Run] = {}
    for run in runs:
        if named.setdefault(_file_name(run), run) is not run:
            other = named[_file_name(run)]
            raise UserError(
                f"{run.name} and {other.name} would both be {_file_name(run)}: collect them apart."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, run in named.items():
        write_json(folder / name, _with_settings(run))
    return {run: folder / name for name, run in named.items()}


def _file_name(run: Run) -> str:
    record = run.record
    unnamed = {*INDIFFERENT, "eval_args", "split_preset"}
    settings = [setting(key, value) for key, value in sorted(run.settings.items()) if top(key) not in unnamed]
    variant = "-".join(settings)
    if len(variant) > LONGEST_VARIANT:
        digest = hashlib.sha256(variant.encode()).hexdigest()[:8]
        settings = [variant[: LONGEST_VARIANT - len(digest) - 1], digest]
    parts = [record["model"].rpartition(":")[2], *settings, record["split"]["preset"], f"s{run.seed}"]
    return re.sub(r"[^\w.=+-]+", "_", "-".join(parts)) + ".json"


def _with_settings(run: Run) -> Mapping[str, Any]:
    return dict(run.record) | ({"settings": run.settings} if run.settings_known else {})
