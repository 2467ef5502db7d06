"""What result.json holds; ``recbole-nif results RUN…`` makes tables of it, see ``publish/``."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_nif.data.sources import read_source
from recbole_nif.errors import UserError
from recbole_nif.evaluation.scoring import evaluate_item_rate, evaluate_item_user_recent
from recbole_nif.run_folder import environment, peak_memory

SCHEMA = 1
METRICS = ("auc", "gauc", "logloss")


def result_record(config, views: Sequence, trainer, durations: Mapping[str, float]) -> dict:
    """Everything that result.json says of a finished run.

    Args:
        config: the run's ``NIFConfig``.
        views: training, validation and test view of the dataset.
        trainer: after ``fit`` and, unless only stage 1 was run, ``evaluate`` on the test rows.
        durations: seconds by part of the run.
    """
    train, valid, test = views
    evaluation = trainer.evaluation
    clicks = sum(float(view.inter_feat[view.label_field].sum()) for view in views)
    return {
        "schema": SCHEMA,
        "model": config["model_name"],
        "dataset": config["dataset"],
        "seed": config["seed"],
        "settings": config.changed,
        "split": {
            "preset": config["split_preset"],
            "eval_args": config["eval_args"],
            "ties": config["split_ties"],
            "order_precision": config["order_precision"],
            **train.split_report,
        },
        "history": {
            "kind": config["history"],
            "ties": config["history_ties"],
            "until": config["history_until"],
            "length": config["MAX_ITEM_LIST_LENGTH"],
        },
        "rows": {
            "train": len(train),
            "valid": len(valid),
            "test": len(test),
            "users": train.user_num - 1,
            "items": train.item_num - 1,
            "clicks_share": clicks / sum(len(view) for view in views),
            "duplicates": train.n_duplicates,
        },
        "source": read_source(config["data_path"]),
        "semantic_ids": train.semantic_ids.facts if train.needs.semantic_ids else None,
        "stages": [report.record() for report in trainer.reports],
        "valid": trainer.best_valid_result,
        "test": None if evaluation is None else evaluation.record(),
        "baselines": _baselines(train, valid, test, config),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "durations": dict(durations),
        "peak_memory_mb": peak_memory(config["device"]),
        **environment(config["device"]),
    }


def _baselines(train, valid, test, config) -> dict:
    """What no model may do worse than, on the test rows."""
    if not len(test):
        return {"item_rate": None, "item_user_recent": None}
    return {
        "item_rate": evaluate_item_rate(train, test, config).record(),
        "item_user_recent": evaluate_item_user_recent(train, valid, test, config).record(),
    }


def read_result(run: str | Path) -> dict:
    """The record of a run folder or of a result.json.

    Raises:
        UserError: there is none, or it is of another schema.
    """
    path = Path(run)
    path = path / "result.json" if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{path} cannot be read: give a run folder or its result.json.") from None
    except ValueError:
        raise UserError(f"{path} is not JSON: give a run folder or its result.json.") from None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise UserError(f"{path} is not a result of schema {SCHEMA}: run the model again with this version.")
    return record


def main(argv: Sequence[str] | None = None) -> int:
    """``recbole-nif results``: publishes runs; see ``publish/command.py``."""
    from recbole_nif.publish.command import main as publish  # which reads results by this module

    return publish(argv)


if __name__ == "__main__":
    sys.exit(main())
