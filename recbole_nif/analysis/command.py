"""``recbole-nif analyze RUN…``: metrics by groups of rows, calibration, pictures of what models generate."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from recbole_nif.analysis import tables
from recbole_nif.analysis.calibration import BINS
from recbole_nif.analysis.groups import everything, groupings
from recbole_nif.analysis.model_pictures import draw_model
from recbole_nif.analysis.pictures import draw_calibration, draw_groups
from recbole_nif.analysis.projections import PROJECTIONS
from recbole_nif.analysis.runs import Variant, load_views, read_variants
from recbole_nif.analysis.volatility import category_field, item_categories
from recbole_nif.command_parser import CommandParser
from recbole_nif.errors import UserError
from recbole_nif.plot_style import write_csv
from recbole_nif.run_folder import write_text

HELP = """\
usage: recbole-nif analyze RUN... [--out FOLDER] [--category FIELD] [--bins N] [--projection pca|tsne]
                           [--key=value ...]

Where runs of the same test rows differ: AUC, GAUC and LogLoss by interest volatility, history length, item
popularity and time since the last event; calibration. Runs that differ by the seed only are one model.

  RUN               folder of a run
  --out FOLDER      writes analysis.md, pictures and the numbers behind them as CSV; also pictures of models:
                    AMEN's flow over time, GenCI's intents and targets
  --category FIELD  the items' column of categories for volatility (default: the scenes, genre, category, ...)
  --bins N          of the reliability curves (default 15)
  --projection P    of vectors to the plane: pca (default) or tsne
  --KEY=VALUE       any key of the configuration, such as --data_path=FOLDER
"""
CALIBRATION = """\
ECE: mean distance of predicted probability and share of clicks over {} bins of equally many rows. LogLoss
rescaled: after the best change of scale (logit -> a logit + b) on these rows; what is left is owed to the
order of the scores, which is what AUC sees."""
UNCATEGORIZED = (
    "Interest volatility is left out: the items have no column of categories (--category names one)."
)


def main(argv: Sequence[str]) -> int:
    """Analyzes what ``argv`` names, prints tables and writes files.

    Raises:
        UserError: a mistake in the options, a folder that is no run, runs of different rows.
    """
    options, settings = parse(argv)
    if options.help:
        print(HELP)
        return 0
    variants, notes = read_variants(options.runs)
    config, views = load_views(variants[0].folders[0], variants[0].scored[0], settings)
    if options.out:
        make_folder(options.out)
    text = _analyze(options, config, views[2], variants, notes)
    print(text)
    if options.out:
        for variant in variants:
            text += "".join(f"\n{part}\n" for part in draw_model(variant, options, settings))
        write_text(options.out / "analysis.md", text)
        print(f"\n{options.out}/: {', '.join(sorted(path.name for path in options.out.iterdir()))}")
    return 0


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and those that belong to the configuration."""
    parser = CommandParser("analyze")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--category")
    parser.add_argument("--bins", type=int, default=BINS)
    parser.add_argument("--projection", choices=PROJECTIONS, default="pca")
    options, others = parser.parse_known_args(list(argv))
    settings = [option for option in others if option.startswith("-")]
    bare = next((option for option in settings if "=" not in option), None)
    if bare:
        raise UserError(f"{bare} has no value: write {bare}=VALUE.")
    options.runs += [run for run in others if not run.startswith("-")]  # behind options
    if not options.runs and not options.help:
        raise UserError("analyze needs the folder of a run: recbole-nif analyze saved/MY_RUN --out FOLDER.")
    if options.bins < 1:
        raise UserError(f"--bins is {options.bins}: give at least 1.")
    return options, settings


def make_folder(folder: Path) -> None:
    """Makes the folder of ``--out``.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"Cannot make the folder --out {folder} ({error.strerror}): name another.") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"The folder --out {folder} cannot be written: name another.")


def _analyze(
    options: argparse.Namespace, config, test, variants: Sequence[Variant], notes: Sequence[str]
) -> str:
    """The tables of groups and calibration as one text; with ``--out`` also pictures and CSV files."""
    rows, weight = variants[0].scored[0], config["gauc_weight"]
    field = category_field(test, options.category)
    found = groupings(test, rows, item_categories(test, field) if field else None)
    whole = list(tables.group_lines(everything(len(rows.label)), variants, weight))
    by_grouping = [list(tables.group_lines(grouping, variants, weight)) for grouping in found]

    parts = [f"# Analysis of {config['dataset']}, split {config['split_preset']}", tables.group_table(whole)]
    parts += ["\n".join([*map(_origin, variants), *(f"- {note}" for note in notes)])]
    if field is None:
        parts.append(UNCATEGORIZED)
    for grouping, lines in zip(found, by_grouping, strict=True):
        of_field = f" ({field})" if grouping.key == "volatility" else ""
        parts += [f"## By {grouping.title}{of_field}", grouping.rule, tables.group_table(lines)]
    parts += [
        "## Calibration",
        CALIBRATION.format(options.bins),
        tables.calibration_table(variants, options.bins),
    ]
    if options.out:
        out = options.out
        lines = [line for part in (whole, *by_grouping) for line in part]
        write_csv(out / "groups.csv", tables.GROUP_COLUMNS, lines)
        auc = [tables.group_means(lines, "auc") for lines in by_grouping]
        overall = {model: means["all"] for model, means in tables.group_means(whole, "auc").items()}
        draw_groups(out / "groups.png", found, auc, overall)
        write_csv(out / "calibration.csv", tables.CURVE_COLUMNS, tables.curve_lines(variants, options.bins))
        draw_calibration(out / "calibration.png", variants, options.bins)
    return "\n\n".join(parts) + "\n"


def _origin(variant: Variant) -> str:
    """Where a model's line comes from."""
    settings = f" with {variant.settings}" if variant.settings else ""
    return f"- {variant.label}: {', '.join(folder.name for folder in variant.folders)}{settings}"
