"""The look of all pictures: colors that color-blind readers tell apart, marks that survive a copy in gray."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recbole_nif.files import written_whole
from recbole_nif.run_folder import write_text

# Okabe and Ito (2008), "Color universal design", without their yellow, which is too light for a line on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"  # one for each color

_STYLE = {
    "axes.prop_cycle": matplotlib.cycler(color=COLORS, marker=list(MARKERS)),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "lines.markersize": 4,
    "font.size": 9,
    "legend.frameon": False,
    "svg.hashsalt": "recbole_nif",  # the same figure gives the same file
}


@contextmanager
def picture(path: Path, *, width: float = 6.0, height: float = 3.6) -> Iterator[Figure]:
    """A figure of ``width`` x ``height`` inches, saved to ``path`` (.png or .svg) when the block ends."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)  # no window, no global state
        yield figure
        dated = {"Date": None} if path.suffix == ".svg" else None
        with written_whole(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=160, metadata=dated)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The numbers behind a picture or a table."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(rows)
    write_text(path, text.getvalue())
