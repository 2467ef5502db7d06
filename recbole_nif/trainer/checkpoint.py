"""Checkpoints of plain tensors and plain values, written whole or not at all.

A file holds {"format", "model", "stage", "epoch", "state_dict", "early_stop", "config", …} and loads with
``weights_only=True``: opening one never runs code.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from recbole.utils import init_seed
from torch import nn

from recbole_nif.errors import UserError
from recbole_nif.files import written_whole
from recbole_nif.semantic_id.quantizer_file import IDS

FORMAT = 1


def save(path: str | Path, payload: Mapping) -> None:
    """Writes ``payload`` beside ``path`` and renames it, so that a killed run never leaves half a file.

    Raises:
        UserError: the disk is full or the folder cannot be written; an earlier file stays as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary, open(temporary, "wb") as file:
            torch.save({"format": FORMAT, **plain(payload)}, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        reason = getattr(error, "strerror", None) or "the disk may be full"
        raise UserError(
            f"Cannot write {path} ({reason}): free space or make the folder writable, then "
            "go on with --resume; earlier checkpoints are whole."
        ) from None


def load(path: str | Path, expected_model: str | None = None, expected_stage: str | None = None) -> dict:
    """Reads a checkpoint of ours onto the CPU.

    Raises:
        UserError: the file is missing, is no checkpoint of ours, or is of another model or stage.
    """
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"Checkpoint {path} does not exist: check the path.") from None
    except Exception:  # bytes that are no checkpoint make the unpickler fail in many ways
        raise UserError(
            f"{path} is not a checkpoint of recbole_nif: give a file of a run's checkpoints/ folder."
        ) from None
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        raise UserError(
            f"{path} is not a checkpoint of format {FORMAT}: train the model again with this version."
        )
    for key, expected in (("model", expected_model), ("stage", expected_stage)):
        if expected is not None and payload[key] != expected:
            raise UserError(
                f"{path} holds {key} {payload[key]!r}, not {expected!r}: give a checkpoint of that {key}."
            )
    return payload


def is_ours(path: str | Path) -> bool:
    """Whether ``path`` is a checkpoint that ``load`` accepts."""
    try:
        load(path)
    except UserError:
        return False
    return True


def restore(module: nn.Module, state_dict: Mapping, source: str | Path) -> None:
    """Loads ``state_dict`` into ``module``.

    Raises:
        UserError: parameters are missing, unknown or of another shape; ``source`` names the file.
    """
    try:
        module.load_state_dict(state_dict)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise UserError(
            f"{source} does not fit the {type(module).__name__} of this configuration "
            f"({first[0].strip().rstrip('.')}): use the configuration and data it was trained with."
        ) from None


def plain(value):
    """``value`` in types that ``weights_only`` loading accepts; devices and other objects become text."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return value if type(value) in (type(None), bool, int, float, str) else str(value)


def model_name(config) -> str:
    """The model's full name, such as ``recbole.DIN``; stock RecBole configs only know the class name."""
    return config["model_name"] or config["model"]


def resolved(config) -> dict:
    """Every setting of a run as plain values, from which ``NIFConfig`` can be built again."""
    if hasattr(config, "resolved"):
        return plain(config.resolved())
    given = config.internal_config_dict | config.external_config_dict  # a stock RecBole Config
    return plain(given | {"model": config["model"], "dataset": config["dataset"]})


def load_data_and_model(path: str | Path, argv: Sequence[str] = ()) -> tuple:
    """RecBole's function of that name for a checkpoint of ours, on whatever device this machine has.

    argv: options of the command line that win over the checkpoint's settings, such as ``--data_path=...``.

    Returns:
        config, model, dataset, and the loaders of the training, validation and test rows.
    """
    from recbole_nif.config import NIFConfig
    from recbole_nif.data.dataset import CTRDataset
    from recbole_nif.data.views import loader_of_view

    payload = load(path, expected_stage="finetune")
    settings = payload["config"] | {"device": "auto", "use_gpu": None, "gpu_id": None}
    ids = Path(path).resolve().parents[1] / f"{settings['dataset']}{IDS}"  # the run's own, if it wrote them
    if ids.is_file():
        settings["semantic_ids"] = str(ids)
    config = NIFConfig(config_dict=settings, argv=argv)
    if config["stream_shards"]:
        raise UserError(
            f"{path} was trained on the shards in {config['stream_shards']}: give --stream_shards=null to "
            "read its dataset into memory instead."
        )
    init_seed(config["seed"], config["reproducibility"])
    dataset = CTRDataset(config)
    views = dataset.build()
    model = config.model_class(config, views[0])
    restore(model, payload["state_dict"], path)
    loaders = [
        loader_of_view(config, view, phase)
        for view, phase in zip(views, ("train", "valid", "test"), strict=True)
    ]
    return config, model.to(config["device"]), dataset, *loaders
