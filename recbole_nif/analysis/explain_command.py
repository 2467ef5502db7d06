"""``recbole-nif explain --run FOLDER --user TOKEN --item TOKEN``: why a model scored a row as it did."""

import argparse
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch

from recbole_nif.analysis.cases import Case, find_case
from recbole_nif.analysis.command import make_folder
from recbole_nif.analysis.names import Names
from recbole_nif.analysis.parts import LABELS, Part, parts_of
from recbole_nif.analysis.runs import load_run
from recbole_nif.audit.report import aligned
from recbole_nif.command_parser import CommandParser
from recbole_nif.device import to_device
from recbole_nif.errors import UserError
from recbole_nif.model.base import CTRModel
from recbole_nif.plot_style import COLORS, picture
from recbole_nif.run_folder import write_text

HELP = """\
usage: recbole-nif explain --run FOLDER --user TOKEN --item TOKEN [--top N] [--out FOLDER] [--key=value ...]

Why a trained model scored an item for a user as it did: the events of history and moveline with their
attention weights, AMEN's flow vectors with their nearest items, GenCI's generated codes with the items that
share them.

  --run FOLDER     folder of a run, with checkpoints/finetune-best.pt
  --user TOKEN     as in the data's files
  --item TOKEN     likewise; explained is the user's last row of this item, a test row if there is one, or
                   without any row the item as of the user's last event
  --top N          how many events are listed (default 15)
  --out FOLDER     writes explain-USER-ITEM.md and, where the model weighs something, a picture
  --KEY=VALUE      any key of the configuration, such as --data_path=FOLDER
"""


def main(argv: Sequence[str]) -> int:
    """Explains what ``argv`` names.

    Raises:
        UserError: a mistake in the options, a run without a checkpoint, an unknown user or item.
    """
    options, settings = parse(argv)
    if options.help:
        print(HELP)
        return 0
    config, model, views = load_run(options.run, settings)
    case, names = find_case(views, options.user, options.item), Names.of_dataset(config, views[0])
    batch = to_device(case.batch, config["device"])
    with torch.inference_mode():
        score = float(model.predict(batch).reshape(-1)[0])
        parts = []
        if isinstance(model, CTRModel):
            parts = parts_of(model.explain(batch), case, views[0], names, options.top)
    title = f"{config['model_name']} on {config['dataset']}: user {options.user}, item {options.item}"
    if names.title(case.item) != options.item:
        title += f" ({names.title(case.item)})"
    text = document(title, score, case, views[0], parts)
    if not parts:
        text += f"\n{config['model_name']} tells nothing of how it comes to a score.\n"
    print(text)
    if options.out:
        make_folder(options.out)
        _write(options, f"{title}, score {score:.4f}", text, parts)
    return 0


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and those that belong to the configuration."""
    parser = CommandParser("explain")
    for name in ("--run", "--user", "--item"):
        parser.add_argument(name)
    parser.add_argument("--top", type=int, default=15)
    parser.add_argument("--out", type=Path)
    options, settings = parser.parse_known_args(list(argv))
    missing = [name for name in ("run", "user", "item") if getattr(options, name) is None]
    if missing and not options.help:
        raise UserError(
            f"explain needs --{' and --'.join(missing)}; recbole-nif explain --help shows its options."
        )
    if options.top < 1:
        raise UserError(f"--top is {options.top}: give at least 1.")
    return options, settings


def document(title: str, score: float, case: Case, view, parts: Sequence[Part]) -> str:
    """The explanation as markdown."""
    log = view.event_log
    time = float(log.timestamp[log.position[case.row].long()])
    begin, end = log.visible(torch.tensor([case.row]))
    seen = f"{int(end - begin):,} earlier events can be seen."
    if case.split is None:
        row = f"No row of the data has both: a candidate as of the user's last event, {_date(time)}."
    else:
        label = LABELS[int(log.label[log.position[case.row].long()])]
        row = f"Row of the {case.split} split, {_date(time)}: {label}."
    sections = [f"# {title}", f"Score {score:.4f}. {row} {seen}"]
    for part in parts:
        sections += [f"## {part.title}", part.note]
        if part.cells:
            sections.append(table(part))
    return "\n\n".join(sections) + "\n"


def table(part: Part) -> str:
    """A part as an aligned markdown table."""
    numbers = zip(*part.series.values(), strict=True)
    lines = [
        (*(cell.replace("|", "\\|") for cell in cells), *(f"{value:.4f}" for value in values))
        for cells, values in zip(part.cells, numbers, strict=True)
    ]
    return aligned([part.columns, *lines])


def _date(seconds: float) -> str:
    """A time of the log as a date, if it can be one."""
    try:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"time {seconds:g}"


def _write(options: argparse.Namespace, title: str, text: str, parts: Sequence[Part]) -> None:
    name = "".join(c if c.isalnum() else "_" for c in options.user + "-" + options.item)
    path = options.out / f"explain-{name}.md"
    write_text(path, text)
    written = [path]
    drawn = [part for part in parts if part.cells]
    if drawn:
        written.append(path.with_suffix(".png"))
        draw(written[-1], title, drawn)
    print(*written, sep="\n")


def draw(path: Path, title: str, parts: Sequence[Part]) -> None:
    """A panel of horizontal bars for each part, its lines from top to bottom."""
    heights = [0.9 + 0.2 * _lines(part) for part in parts]
    with picture(path, width=9, height=0.5 + sum(heights)) as figure:
        panels = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights).flatten()
        for panel, part in zip(panels, parts, strict=True):
            series, places = _drawn(part), torch.arange(len(part.bars)).numpy()
            thick = 0.8 / len(series)
            for number, (name, values) in enumerate(series.items()):
                shift = (number - (len(series) - 1) / 2) * thick
                panel.barh(places + shift, values, thick * 0.9, color=COLORS[number], label=name)
            panel.set_yticks(places, part.bars, fontsize=7.5)
            panel.invert_yaxis()
            panel.grid(axis="y", visible=False)
            panel.axvline(0, color="#444444", linewidth=0.8)
            panel.set_title(part.title, loc="left")
            panel.set_xlabel(part.axis)
            if len(series) > 1:
                panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(series), fontsize=8)
        figure.suptitle(title)


def _lines(part: Part) -> float:
    """How many lines of text its bars take."""
    return len(part.bars) * max(1.0, 0.8 * len(_drawn(part)), 1.8 * ("\n" in part.bars[0]))


def _drawn(part: Part) -> dict[str, list[float]]:
    """The series of a part that share an axis."""
    return {name: values for name, values in part.series.items() if name != "read" or len(part.series) == 1}
