"""The runs to analyze: their test scores, and the data they are of, built anew from config.yaml."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from recbole_nif.config import NIFConfig
from recbole_nif.config_parsing import load_yaml
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.fields import ROW_ID
from recbole_nif.errors import UserError
from recbole_nif.evaluation.scored_rows import SCORES_FILE, ScoredRows
from recbole_nif.publish.names import setting, variant_of
from recbole_nif.publish.runs import Row, read_runs, tables_of
from recbole_nif.trainer.checkpoint import load_data_and_model

LONGEST_NAME = 100  # of a file, before its kind
ANY_DEVICE = {"device": "auto", "use_gpu": None, "gpu_id": None}  # a run may have had another one


@dataclass(frozen=True)
class Variant:
    """Runs that differ by the seed only.

    Attributes:
        label: the model, and the settings in which variants of it differ here.
        settings: all that differ from the model's defaults, as a text.
        folders, scored: of each run, and what it said of the test rows.
    """

    label: str
    settings: str
    folders: tuple[Path, ...]
    scored: tuple[ScoredRows, ...]

    @property
    def file_name(self) -> str:
        """How names of files begin that are about it."""
        return re.sub(r"[^\w.=+-]+", "_", self.label)[:LONGEST_NAME]


def read_variants(paths: Sequence[str]) -> tuple[list[Variant], list[str]]:
    """The runs in the folders ``paths``, all of which scored the same rows, and notes for a reader.

    Raises:
        UserError: a folder is no run, was not tested, or scored other rows than the first.
    """
    runs = read_runs(paths)
    for run in runs:
        if not run.is_folder:
            raise UserError(
                f"{run.file} is only a run's record: give the folder of the run, with its scores."
            )
        if not run.record["test"]:
            raise UserError(f"{run.file.parent} was not tested (stage 1 only): leave it out.")
    tables = tables_of(runs)
    if len(tables) > 1:
        raise UserError(
            f"{_folder(tables[0])} and {_folder(tables[1])} are of different data, splits or histories: "
            f"analyze them apart."
        )
    variants = [_variant(row, tables[0].rows) for row in tables[0].rows]
    first = variants[0]
    for variant in variants:
        for folder, rows in zip(variant.folders, variant.scored, strict=True):
            if not rows.same_rows(first.scored[0]):
                raise UserError(f"{folder} and {first.folders[0]} scored different rows: analyze them apart.")
    return variants, tables[0].notes


def _folder(table) -> Path:
    return table.runs[0].file.parent


def _variant(row: Row, rows: Sequence[Row]) -> Variant:
    folders = tuple(run.file.resolve().parent for run in row.runs)  # with a name, also where "." was given
    others = [other.variant.items() for other in rows if other.model == row.model]
    own = [
        setting(key, value)
        for key, value in row.variant.items()
        if any((key, value) not in o for o in others)
    ]
    label = " ".join([row.model.rpartition(":")[2], *own])
    settings = " ".join(setting(*item) for item in variant_of(row.runs[0].settings).items())
    scored = tuple(ScoredRows.load(folder / SCORES_FILE) for folder in folders)
    return Variant(label, settings, folders, scored)


def load_views(folder: Path, rows: ScoredRows, argv: Sequence[str] = ()) -> tuple[NIFConfig, list]:
    """The configuration of a run, and training, validation and test view of its data; no model is built.

    Args:
        folder: of the run; rows: what it scored.
        argv: options that win over its config.yaml, such as ``--data_path=...``.

    Raises:
        UserError: no config.yaml, or the data are not those that were scored.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{path} is missing: copy the whole folder of the run.")
    config = NIFConfig(config_dict=load_yaml(path) | ANY_DEVICE, argv=argv)
    views = CTRDataset(config).build()
    columns = views[2].inter_feat
    ids = columns[ROW_ID].numpy()
    order = np.argsort(ids)
    now = [ids[order], *(columns[name].numpy()[order] for name in (views[2].uid_field, views[2].label_field))]
    then = rows.row_id, rows.user, rows.label
    if not all(np.array_equal(*pair) for pair in zip(now, then, strict=True)):
        raise UserError(
            f"The test rows that {folder} scored are not those of the data in {config['data_path']}: point "
            f"--data_path at the data of the run."
        )
    return config, views


def load_run(folder: Path, argv: Sequence[str] = ()) -> tuple[NIFConfig, nn.Module, list]:
    """Configuration, trained model in evaluation mode, and training, validation and test view of a run.

    Args:
        folder: of the run; argv: options that win over its configuration.

    Raises:
        UserError: the folder is no run's, or its weights are missing or do not fit.
    """
    config, model, _, *loaders = load_data_and_model(_checkpoint(Path(folder)), argv=argv)
    return config, model.eval(), [loader.dataset for loader in loaders]


def _checkpoint(folder: Path) -> Path:
    path = folder / "checkpoints" / "finetune-best.pt"
    if path.is_file():
        return path
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{folder} is not the folder of a run, which holds config.yaml and checkpoints/.")
    from recbole_nif.export.read import refuse_export  # which imports this file

    refuse_export(folder)
    raise UserError(f"{path} does not exist: give a run that was trained to its end and kept its weights.")
