"""An export folder as a model with its data; none of RecBole's dataset files is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from recbole_nif.analysis.runs import ANY_DEVICE
from recbole_nif.config import NIFConfig
from recbole_nif.errors import UserError
from recbole_nif.export.files import AGAIN, read_values
from recbole_nif.export.stored_data import read_data
from recbole_nif.inference.serving_data import ServingData

MANIFEST, CONFIG, WEIGHTS = "export.json", "config.yaml", "model.safetensors"
FORMAT = 1  # of all files together


def is_export(folder: str | Path) -> bool:
    """Whether a folder is one of ``recbole-nif export``."""
    return Path(folder, MANIFEST).is_file()


def refuse_export(folder: str | Path) -> None:
    """For what needs a run's own checkpoints and data.

    Raises:
        UserError: the folder is an export.
    """
    if is_export(folder):
        raise UserError(f"{folder} is an export, without the run's data: name the run that it was made from.")


def read_export(folder: str | Path, argv: Sequence[str] = ()) -> tuple[NIFConfig, nn.Module, ServingData]:
    """Configuration, trained model in evaluation mode, and what is known of users, items and events.

    Args:
        argv: options that win over the configuration, such as ``--device=cpu``.

    Raises:
        UserError: another format, a file that is missing or damaged, or a model that cannot be built.
    """
    folder = Path(folder)
    manifest = read_values(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"{folder} is an export of format {manifest.get('format')}, made by recbole_nif "
            f"{manifest.get('recbole_nif')}, but this version reads {FORMAT}: export the run again."
        )
    config = NIFConfig(
        config_file_list=[folder / CONFIG], config_dict=ANY_DEVICE, argv=argv, with_files=False
    )
    try:
        data, catalog = read_data(folder, config, with_log=manifest["with_log"])
    except KeyError as error:
        raise UserError(f"{folder} has no {error.args[0]}: {AGAIN}.") from None
    model = config.model_class(config, catalog)
    path = folder / WEIGHTS
    try:
        load_model(model, path)
    except OSError:
        raise UserError(f"{path} cannot be read: {AGAIN}.") from None
    except (SafetensorError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0].rstrip(".:")
        raise UserError(f"{path} does not fit the model ({first}): {AGAIN}.") from None
    return config, model.to(config["device"]).eval(), data
