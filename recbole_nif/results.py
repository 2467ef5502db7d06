"""What result.json holds; ``recbole-nif report RUN…`` makes tables and pages of it, see ``publish/``.

``result.schema.json`` beside this file documents every field, of all versions that can be read.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_nif.data.sources import read_source
from recbole_nif.data.stream.dataset import StreamedLog
from recbole_nif.errors import UserError
from recbole_nif.evaluation.scoring import evaluate_item_rate, evaluate_item_user_recent
from recbole_nif.run_folder import environment, peak_memory

RESULT_FILE = "result.json"
RESULT_SCHEMA = Path(__file__).with_name("result.schema.json")
SCHEMA = 2  # since 2: scoring
READABLE = (1, 2)
NEEDED = (
    "model", "dataset", "seed", "split", "history", "rows", "stages", "test", "baselines", "parameters",
    "durations", "versions", "device", "threads", "git_commit", "date",
)  # fmt: skip
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
    clicks = sum(view.n_clicks() for view in views)
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
        "scoring": _scoring(trainer, config),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "durations": dict(durations),
        "peak_memory_mb": peak_memory(config["device"]),
        **environment(config["device"]),
    }


def _baselines(train, valid, test, config) -> dict:
    """What no model may do worse than, on the test rows; of a streamed log it is not computed."""
    if not len(test) or isinstance(test, StreamedLog):
        return {"item_rate": None, "item_user_recent": None}
    return {
        "item_rate": evaluate_item_rate(train, test, config).record(),
        "item_user_recent": evaluate_item_user_recent(train, valid, test, config).record(),
    }


def _scoring(trainer, config) -> dict | None:
    """How long the test rows took, end to end; None if they were not scored."""
    if trainer.scored is None:
        return None
    return {
        "rows": len(trainer.scored.score),
        "seconds": trainer.scoring_seconds,
        "batch_size": config["eval_batch_size"],
    }


def seconds_of(record: Mapping) -> float:
    """How long a run took by its record: all its parts, whatever processes did them."""
    return sum(seconds for part, seconds in record["durations"].items() if part != "total")


def read_result(run: str | Path) -> dict:
    """The record of a run folder or of a result.json.

    Raises:
        UserError: there is none, or it is of another schema.
    """
    path = Path(run)
    path = path / RESULT_FILE if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{path} cannot be read: give a run folder or its {RESULT_FILE}.") from None
    except ValueError:
        raise UserError(f"{path} is not JSON: give a run folder or its {RESULT_FILE}.") from None
    version = record.get("schema") if isinstance(record, dict) else None
    if version is None:
        raise UserError(f"{path} is not the result of a run: give a run folder or its {RESULT_FILE}.")
    if version not in READABLE:
        raise UserError(
            f"{path} is of schema {version}, but this version reads {' and '.join(map(str, READABLE))}: "
            "use the version of recbole_nif that wrote it, or run the model again."
        )
    missing = [key for key in NEEDED if key not in record]
    if missing:
        raise UserError(f"{path} has no {missing[0]}: it is not the result of a run, or is damaged.")
    return record
