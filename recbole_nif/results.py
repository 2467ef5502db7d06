"""What result.json holds, and tables of it: ``python -m recbole_nif.results RUN_DIR...`` prints markdown."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_nif.data.sources import read_source
from recbole_nif.errors import UserError
from recbole_nif.evaluation.metrics import relaimpr
from recbole_nif.evaluation.scoring import evaluate_item_rate
from recbole_nif.run_folder import environment, peak_memory

SCHEMA = 1
BASE_MODEL = "LR"  # of RelaImpr

METRICS = ("auc", "gauc", "logloss")
COLUMNS = (
    "model", "history", "ties", "split",
    "AUC", "GAUC", "LogLoss",
    "RelaImpr vs LR", "epochs", "rows/s", "seed", "device", "threads",
)  # fmt: skip


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
        },
        "source": read_source(config["data_path"]),
        "stages": [report.record() for report in trainer.reports],
        "valid": trainer.best_valid_result,
        "test": None if evaluation is None else evaluation.record(),
        "baselines": {"item_rate": evaluate_item_rate(train, test, config).record() if len(test) else None},
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "durations": dict(durations),
        "peak_memory_mb": peak_memory(config["device"]),
        **environment(config["device"]),
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


def result_table(records: Sequence[Mapping]) -> str:
    """A markdown table: the trivial baseline on each set of test rows, then one line per record, in order.

    RelaImpr compares with the LR run on the same rows (dataset, split and sizes) among ``records``.
    """
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    seen = []
    for record in records:
        if _rows_of(record) not in seen and record["baselines"]["item_rate"]:
            seen.append(_rows_of(record))
            lines.append(_baseline(record))
    lines += [_line(record, records) for record in records]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _baseline(record: Mapping) -> list[str]:
    metrics = [_number(record["baselines"]["item_rate"][name]) for name in METRICS]
    return ["item rate", "", "", _split(record), *metrics, *[""] * (len(COLUMNS) - 4 - len(metrics))]


def _line(record: Mapping, records: Sequence[Mapping]) -> list[str]:
    test = record["test"] or {}
    bases = [r for r in records if r["model"] == BASE_MODEL and r["test"] and _rows_of(r) == _rows_of(record)]
    gain = f"{relaimpr(test['auc'], bases[0]['test']['auc']):+.2f} %" if bases and test else ""
    last = record["stages"][-1] if record["stages"] else None
    speed = last and last["rows_per_second"]
    return [
        record["model"],
        record["history"]["kind"],
        record["history"]["ties"],
        _split(record),
        *(_number(test.get(name)) for name in METRICS),
        gain,
        "" if last is None else _epochs(last),
        "" if speed is None else f"{speed:,.0f}",
        str(record["seed"]),
        record["device"]["name"],
        str(record["threads"]),
    ]


def _epochs(stage: Mapping) -> str:
    """Epochs that the last stage ran and the one whose weights were tested."""
    start = stage["facts"].get("started_from")
    if start and not stage["epochs_run"]:
        return f"checkpoint of epoch {start['epoch'] + 1}"
    return f"{stage['epochs_run']}, best {stage['best_epoch'] + 1}"


def _split(record: Mapping) -> str:
    return f"{record['dataset']} {record['split']['preset']} ({record['split']['ties']})"


def _rows_of(record: Mapping) -> tuple:
    """What tells whether two runs were tested on the same rows."""
    return record["dataset"], record["split"], record["rows"]


def _number(value: float | None) -> str:
    return "undefined" if value is None or value != value else f"{value:.4f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table of the run folders in ``argv``; 2 for a user's mistake."""
    runs = sys.argv[1:] if argv is None else argv
    if not runs:
        print("usage: python -m recbole_nif.results RUN_DIR...", file=sys.stderr)
        return 2
    try:
        print(result_table([read_result(run) for run in runs]))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
