"""What a report consists of, before it becomes markdown (``markdown.py``) or a page (``page.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from recbole_nif.publish.runs import Run

if TYPE_CHECKING:  # matplotlib is not worth its time where a run only prints its table
    from recbole_nif.publish.plots import Plot

BEST, SECOND = "best", "second"  # marks of a cell


@dataclass(frozen=True)
class Piece:
    """Text, and the runs that it tells of."""

    text: str
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Cell:
    """A cell of a table; a mark stands out among the cells of its column."""

    pieces: tuple[Piece, ...]
    mark: str = ""

    @property
    def text(self) -> str:
        """Its text without links and marks."""
        return "".join(piece.text for piece in self.pieces)


def cell(text: str = "", runs: Sequence[Run] = (), mark: str = "") -> Cell:
    """A cell of one piece."""
    return Cell((Piece(text, tuple(runs)),), mark)


def seeds(runs: Sequence[Run]) -> tuple[Piece, ...]:
    """The runs' seeds, each with its run, and commas."""
    first, *others = (Piece(str(run.seed), (run,)) for run in runs)
    return (first, *(piece for seed in others for piece in (Piece(", "), seed)))


@dataclass(frozen=True)
class Heading:
    """A heading; 1 is the title."""

    level: int
    text: str


@dataclass(frozen=True)
class Prose:
    """A paragraph; names in backticks are code."""

    text: str


@dataclass(frozen=True)
class Listing:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        linked: the column whose links a reader of markdown gets too; a page links every cell.
        runs: the run of every line, where a line is a run; links to several runs lead there.
        first_row: lines before it are references, such as baselines.
    """

    columns: Sequence[str]
    lines: Sequence[Sequence[Cell]]
    linked: str = ""
    runs: Sequence[Run] = ()
    first_row: int = 0


@dataclass(frozen=True)
class Picture:
    """A figure."""

    plot: Plot


Block = Heading | Prose | Listing | Grid | Picture
