"""From a run's folder to an export, which is read back and compared before anybody sees it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.torch import save_model

from recbole_nif import __version__
from recbole_nif.analysis.runs import load_run
from recbole_nif.errors import UserError
from recbole_nif.export.card import model_card
from recbole_nif.export.files import whole_folder, write_values
from recbole_nif.export.onnx_graphs import export_halves, require_packages
from recbole_nif.export.read import CONFIG, FORMAT, MANIFEST, WEIGHTS, read_export
from recbole_nif.export.stored_data import write_data
from recbole_nif.inference.scorer import Scorer
from recbole_nif.inference.serving_data import ServingData
from recbole_nif.results import RESULT_FILE, read_result
from recbole_nif.run_folder import OF_THE_PLACE, write_text

PATHS = (
    *OF_THE_PLACE, "data_path", "source", "checkpoint_dir", "semantic_ids", "semantic_id_cache",
    "pretrained_generator", "pretrain_cache", "model_file",
)  # fmt: skip
COMPARED = 256  # pairs that are scored by the run and by its export
TRACED = 8  # training rows that a model's graphs are made with


def export_run(
    run: str | Path,
    target: str | Path,
    *,
    with_log: bool = True,
    onnx: bool = False,
    argv: Sequence[str] = (),
) -> Path:
    """Writes a run as a folder from which ``Scorer.load`` answers without the dataset's files.

    It is written whole or not at all.

    Args:
        run: folder of a run.
        target: a new folder.
        with_log: whether the events of the data's users come along.
        onnx: whether the folder ``onnx`` holds the model's user half and candidate half as graphs, too.
        argv: options that win over the run's configuration, such as ``--data_path=...``.

    Raises:
        UserError: the run cannot be loaded, the target is not empty, the model reads more of its dataset than
            an export holds, it scores otherwise after export, or it cannot be made into graphs.
    """
    if onnx:
        require_packages()
    run, target = Path(run), Path(target)
    with whole_folder(target) as folder:
        config, model, views = load_run(run, argv)
        data = ServingData.of_dataset(config, views[0])
        settings = {key: value for key, value in config.resolved().items() if key not in PATHS}
        write_text(folder / CONFIG, yaml.safe_dump(settings, sort_keys=True, allow_unicode=True))
        save_model(model, str(folder / WEIGHTS))
        write_data(folder, data, views[0], with_log=with_log)
        record = read_result(run) if (run / RESULT_FILE).is_file() else None
        write_text(folder / "README.md", model_card(data, type(model), record, with_log=with_log, onnx=onnx))
        manifest = {
            "format": FORMAT,
            "recbole_nif": __version__,
            "model": config["model_name"],
            "dataset": config["dataset"],
            "with_log": with_log,
        }
        write_values(folder / MANIFEST, manifest)
        _compare(folder, Scorer(model, data))
        if onnx:
            (folder / "onnx").mkdir()
            rows = torch.linspace(0, len(views[0]) - 1, TRACED).long()
            export_halves(model.cpu(), views[0][rows], folder / "onnx")
    return target


def _compare(folder: Path, scorer: Scorer) -> None:
    """Raises a UserError where the written export scores the last events of the log otherwise."""
    config, model, data = read_export(folder, [f"--device={scorer.data.config['device']}"])
    if not data.has_events:
        data.log, data.has_events = scorer.data.log, True
    log, tokens = scorer.data.log, scorer.data.columns.tokens
    rows = np.linspace(0, len(log) - 1, min(COMPARED, len(log))).astype(int)
    named = {scorer.data.user_field: log.user, scorer.data.item_field: log.item}
    pairs = pd.DataFrame({name: tokens[name][ids.numpy()[rows]] for name, ids in named.items()})
    if data.rule.time is not None:
        pairs[data.rule.time] = log.timestamp.numpy()[rows]
    pairs = pairs[pairs[scorer.data.item_field] != tokens[scorer.data.item_field][0]]
    difference = np.abs(Scorer(model, data).score_pairs(pairs) - scorer.score_pairs(pairs)).max(initial=0.0)
    if not difference < 1e-6:
        raise UserError(
            f"{config['model_name']} scores otherwise after export (by up to {difference:.2g}): it depends "
            "on more than its weights and the data's tables, so serve the folder of its run instead."
        )
