"""Folders of runs on the toy data, of models with random weights: nothing is trained."""

from pathlib import Path

import torch

from tests.toy import ROWS, save_run, toy_dataset

SMALL = {"embedding_size": 4, "mlp_hidden_size": [8], "MAX_ITEM_LIST_LENGTH": 4}
OF_MODEL = {
    "NIFDIEN": {"hidden_size": 8, "encode": "packed"},
    "AMEN": {"hidden_size": 8, "flow_len": 2, "n_heads": 2},
    "GenCI": {
        "hidden_size": 8, "head_size": 4, "inner_size": 8, "n_heads": 2, "lambda_sr": 0.0,
        "text_encoder": "features", "quantizer": "kmeans", "code_levels": 2, "codebook_size": 3,
    },
}  # fmt: skip


def toy_run(folder: Path, model: str = "NIFDIN", rows=ROWS, **overrides) -> Path:
    """The folder of a run of ``model``; the data lie in ``folder`` too."""
    settings = SMALL | OF_MODEL.get(model, {}) | overrides
    views = toy_dataset(folder, model, rows, **settings)
    config = views[0].config
    torch.manual_seed(0)
    network = config.model_class(config, views[0])
    return save_run(folder / f"run-{model.rpartition(':')[2]}", config, network)
