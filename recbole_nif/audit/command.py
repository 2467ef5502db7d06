"""``recbole-nif audit``: facts of a dataset, or leak tests of a trained model."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from recbole_nif.audit import report
from recbole_nif.audit.data import dataset_facts
from recbole_nif.audit.leaks import audit_model
from recbole_nif.command_parser import CommandParser, check_out, write_out
from recbole_nif.config import NIFConfig
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.errors import UserError
from recbole_nif.evaluation.scoring import evaluate_item_rate, evaluate_item_user_recent
from recbole_nif.export.read import refuse_export
from recbole_nif.trainer.checkpoint import load_data_and_model

SCHEMA = 1
READER = "LR"  # a config names a model; this one reads no history, and none is trained here

HELP = """\
usage: recbole-nif audit DATASET [--out FILE] [--key=value ...]
       recbole-nif audit --run FOLDER [--passes N] [--out FILE] [--key=value ...]

With a dataset: what ties, cold users and items and users of one class do to an evaluation on it, and what
trivial baselines reach. With a run: whether its model sees what it must not. A row's score may not move when
its own label or later events change; if one does, the exit code is 1.

  DATASET         as in --dataset, in front of all options
  --run FOLDER    folder of a run, with checkpoints/finetune-best.pt
  --passes N      how many random rows of each user are audited (default 3)
  --out FILE      where all values go as JSON
  --KEY=VALUE     any key of the configuration, such as --split_preset=global_time or --data_path=FOLDER
"""


def main(argv: Sequence[str]) -> int:
    """Audits what ``argv`` names and prints tables; the exit code is 1 for a model that leaks, else 0.

    Raises:
        UserError: a mistake in the options, the configuration or the data.
    """
    options, settings = parse(argv)
    if options.help:
        print(HELP)
        return 0
    return (_audit_run if options.run else _audit_dataset)(options, settings)


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The audit's own options, ``dataset`` among them, and the options that belong to the configuration."""
    argv = list(argv)
    parser = CommandParser("audit")
    parser.add_argument("--run")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--out", type=Path)
    dataset = argv.pop(0) if argv and not argv[0].startswith("-") else None
    options, settings = parser.parse_known_args(argv)
    options.dataset = dataset
    misplaced = None if dataset or options.run else _bare_word(settings)
    if misplaced:
        raise UserError(
            f"{misplaced} stands behind an option: write recbole-nif audit {misplaced} --KEY=VALUE."
        )
    if options.run and dataset:
        raise UserError(f"Give either the dataset {dataset} or --run: a run names its dataset itself.")
    if options.passes < 1:
        raise UserError(f"--passes is {options.passes}: give at least 1.")
    check_out(options.out)
    return options, settings


def _bare_word(settings: Sequence[str]) -> str | None:
    """The first that is neither an option nor the value of the one before it."""
    for before, word in zip(["", *settings], settings, strict=False):
        takes_word = before.startswith("-") and "=" not in before
        if not word.startswith("-") and not takes_word:
            return word
    return None


def _audit_dataset(options: argparse.Namespace, settings: list[str]) -> int:
    config = NIFConfig(READER, options.dataset, argv=settings)
    train, valid, test = views = CTRDataset(config).build()
    _check_test_rows(test, config)
    facts = dataset_facts(views)
    baselines = {
        "item_rate": evaluate_item_rate(train, test, config),
        "item_user_recent": evaluate_item_user_recent(train, valid, test, config),
    }
    print(f"{report.terms(config)}\n\n{report.dataset_table(views, facts, baselines)}")
    _write(options, config, report.dataset_record(views, facts, baselines))
    return 0


def _audit_run(options: argparse.Namespace, settings: list[str]) -> int:
    path = Path(options.run, "checkpoints", "finetune-best.pt")
    if not path.is_file():
        refuse_export(options.run)
        raise UserError(f"{path} does not exist: give --run the folder of a finished run.")
    config, model, _, *loaders = load_data_and_model(path, argv=settings)
    _check_test_rows(loaders[-1].dataset, config)
    found = audit_model(config, model, [loader.dataset for loader in loaders], options.passes)
    print(f"{config['model_name']} on {report.terms(config)}\n\n{report.leak_table(found)}")
    for leak in found.leaks:
        print(f"\n{report.leak_sentence(leak)}")
    _write(options, config, {"run": options.run, "model": config["model_name"], **report.leak_record(found)})
    return 1 if found.leaks else 0


def _check_test_rows(test, config) -> None:
    if not len(test):
        raise UserError(
            f"The test split is empty: audit another one than eval_args.split {config['eval_args']['split']}."
        )


def _write(options: argparse.Namespace, config, values: dict) -> None:
    keys = ("dataset", "seed", "split_preset", "eval_args", "split_ties", "history_ties", "history_until")
    write_out(options.out, {"schema": SCHEMA, **{key: config[key] for key in keys}, **values})
