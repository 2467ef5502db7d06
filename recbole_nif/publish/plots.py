"""A figure of a report: what it shows, its numbers and how it is drawn; and its files."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recbole_nif.plot_style import picture, write_csv
from recbole_nif.publish.blocks import Block, Picture

WIDTH = 7.2  # inches: the text of a printed page
PANELS = 3  # beside each other
METRIC_NAMES = {"auc": "AUC", "gauc": "GAUC", "logloss": "LogLoss"}


@dataclass(frozen=True, eq=False)
class Plot:
    """A figure.

    Attributes:
        name: of its files, without a suffix.
        title: what it shows, as a heading.
        caption: how to read it.
        columns, rows: its numbers.
        draw: draws it.
        height: in inches.
    """

    name: str
    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    draw: Callable[[Figure], None]
    height: float


def write_plots(blocks: Iterable[Block], folder: Path) -> None:
    """Writes ``<name>.svg`` and ``<name>.csv`` of every picture into ``folder``."""
    for plot in (block.plot for block in blocks if isinstance(block, Picture)):
        folder.mkdir(parents=True, exist_ok=True)
        with picture(folder / f"{plot.name}.svg", width=WIDTH, height=plot.height) as figure:
            plot.draw(figure)
        write_csv(folder / f"{plot.name}.csv", plot.columns, plot.rows)


def panels_height(count: int) -> float:
    """Inches that so many panels need."""
    return 0.4 + 1.9 * -(-count // PANELS)


def panels(figure: Figure, titles: Sequence[str], *, x: str, y: str, sharey: bool = False) -> list[Axes]:
    """Axes beside and below each other, one for each title; ``x`` and ``y`` name the outer ones."""
    across = min(PANELS, len(titles))
    axes = figure.subplots(-(-len(titles) // across), across, squeeze=False, sharey=sharey).ravel()
    for axis in axes[len(titles) :]:
        axis.remove()
    for place, (axis, title) in enumerate(zip(axes, titles, strict=False)):
        axis.set_title(textwrap.fill(title, 34), fontsize=8)
        axis.tick_params(labelsize=7, labelleft=True)
        if place + across >= len(titles):
            axis.set_xlabel(x, fontsize=8)
        if place % across == 0:
            axis.set_ylabel(y, fontsize=8)
    return list(axes[: len(titles)])
