"""RecBole's own objects on the same files and filters as ours."""

from __future__ import annotations

import sys
from unittest import mock

from recbole.config import Config

from recbole_nif.compat import apply
from recbole_nif.config import NIFConfig

SHARED = (
    "data_path", "load_col", "threshold", "val_interval", "item_inter_num_interval",
    "user_inter_num_interval", "normalize_all", "MAX_ITEM_LIST_LENGTH", "eval_args", "seed",
    "train_batch_size", "eval_batch_size",
)  # fmt: skip


def stock_config(model: str, dataset: str, ours: NIFConfig, **overrides) -> Config:
    """RecBole's Config for one of its models with the data settings of ``ours``."""
    apply()
    settings = {key: ours[key] for key in SHARED}
    settings["data_path"] = str(ours["data_path"]).removesuffix(dataset).rstrip("/")
    settings.update(
        train_neg_sample_args=None, metrics=["AUC", "LogLoss"], valid_metric="AUC", repeatable=True
    )
    settings.update(use_gpu=False, gpu_id="", show_progress=False, **overrides)
    with mock.patch.object(sys, "argv", sys.argv[:1]):  # RecBole's Config reads any program's arguments
        return Config(model=model, dataset=dataset, config_dict=settings)
