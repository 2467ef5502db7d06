"""``recbole-nif recall --run FOLDER``: generated candidates against next clicks, beside simple rankings."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from recbole_nif.analysis.cases import SPLITS
from recbole_nif.analysis.runs import load_run
from recbole_nif.audit.report import aligned, terms
from recbole_nif.command_parser import CommandParser, check_out, write_out
from recbole_nif.errors import UserError
from recbole_nif.evaluation.recall import KS, baseline_recalls, candidate_recall, clicked_rows
from recbole_nif.publish.text import number

SCHEMA = 1
ROWS = 5_000  # a beam search takes a while on a CPU

HELP = """\
usage: recbole-nif recall --run FOLDER [--rows N] [--out FILE] [--key=value ...]

How often the item that was clicked is among the first k of all items, ordered by what a model generates
before it sees any candidate: by the largest cosine with a vector of AMEN's flow, or by the best beam of GenCI
whose codes the item has. Beside it popularity, item-kNN (co-clicks of training) and what followed the last
click.

  --run FOLDER    folder of a run, with checkpoints/finetune-best.pt
  --rows N        at most so many clicked rows of validation and of test, a seeded sample (default 5000)
  --out FILE      where all values go as JSON
  --KEY=VALUE     any key of the configuration, such as --data_path=FOLDER
"""
RULE = """\
recall@k over clicked rows; all {:,} items are ranked, also those that the user clicked before. Equal scores
go by training clicks."""


def main(argv: Sequence[str]) -> int:
    """Measures what ``argv`` names and prints a table.

    Raises:
        UserError: a mistake in the options, a run without a checkpoint, a model that generates nothing.
    """
    options, settings = parse(argv)
    if options.help:
        print(HELP)
        return 0
    config, model, views = load_run(options.run, settings)
    found: dict[str, dict] = {}
    for name, view in zip(SPLITS[1:], views[1:], strict=True):
        rows = clicked_rows(view, options.rows, config["seed"])
        if not len(rows):
            continue
        with tqdm(total=len(rows), desc=name, unit="row", leave=False, disable=None) as progress:
            own = candidate_recall(model, config["device"], view, rows, progress.update)
        found[name] = {
            "rows": len(rows),
            "recall": {config["model_name"]: own, **baseline_recalls(view, rows)},
        }
    if not found:
        raise UserError(
            f"Neither validation nor test rows hold a click: change eval_args.split "
            f"{config['eval_args']['split']} or filters."
        )
    print(
        f"{config['model_name']} on {terms(config)}\n\n{table(found)}\n\n{RULE.format(views[0].item_num - 1)}"
    )
    keys = ("dataset", "seed", "split_preset", "eval_args", "split_ties", "history_ties", "history_until")
    facts = {"run": options.run, "model": config["model_name"], **{key: config[key] for key in keys}}
    write_out(options.out, {"schema": SCHEMA, **facts, "splits": found})
    return 0


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and those that belong to the configuration."""
    parser = CommandParser("recall")
    parser.add_argument("--run")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--out", type=Path)
    options, settings = parser.parse_known_args(list(argv))
    if options.run is None and not options.help:
        raise UserError(
            "recall needs --run, the folder of a run; recbole-nif recall --help shows its options."
        )
    if options.rows < 1:
        raise UserError(f"--rows is {options.rows}: give at least 1.")
    check_out(options.out)
    return options, settings


def table(found: Mapping[str, Mapping]) -> str:
    """A line per split and ranking."""
    lines = [("split", "clicked rows", "ranked by", *(f"recall@{k}" for k in KS))]
    for split, values in found.items():
        for name, recall in values["recall"].items():
            lines.append((split, f"{values['rows']:,}", name, *(number(recall[k]) for k in KS)))
    return aligned(lines)
