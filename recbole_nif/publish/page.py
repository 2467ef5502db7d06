"""A report as one HTML file: styles and figures are in it, it needs no network and no script."""

import base64
import html
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from recbole_nif.publish.blocks import Block, Cell, Grid, Heading, Listing, Picture, Piece, Prose
from recbole_nif.publish.links import Links
from recbole_nif.publish.plots import Plot
from recbole_nif.publish.runs import Run

STYLE = """
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem; background: #fff; color: #1a1a1a;
  font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .6rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .4rem; padding-top: .6rem; border-top: 2px solid #1a1a1a; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .4rem; }
p, li { max-width: 56rem; }
p { margin: .4rem 0 .8rem; }
a { color: #0072b2; }
code { background: #f2f2f2; padding: 0 .2em; border-radius: 2px; }
nav ul { margin: .2rem 0; padding-left: 1.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0; font-size: .75rem; line-height: 1.35;
  font-variant-numeric: tabular-nums; }
th { text-align: left; vertical-align: bottom; border-bottom: 1.5px solid #1a1a1a; }
th, td { padding: .25rem .35rem; }
th:first-child, td:first-child { padding-left: 0; }
td { border-bottom: 1px solid #ddd; vertical-align: top; }
td.number, th.number { text-align: right; }
td.number, td.short { white-space: nowrap; }
td.linked { min-width: 7.6rem; }
td a { color: inherit; text-decoration: none; }
td a:hover, td a:focus { text-decoration: underline; }
tr.reference td { color: #595959; font-style: italic; }
td.best { font-weight: 700; }
td.second { text-decoration: underline; text-underline-offset: 2px; }
tr:target td { background: #fff3d6; }
figure { margin: .6rem 0 1.6rem; }
figure img { width: 100%; max-width: 56rem; height: auto; }
figcaption { font-size: .85rem; max-width: 56rem; color: #404040; }
@page { size: A4 landscape; margin: 12mm; }
@media print {
  :root { font-size: 12px; }
  body { margin: 0; max-width: none; font-size: 1rem; }
  .wide { overflow: visible; }
  h2, h3 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
}
"""
SHORT = 18  # characters that stay on one line
NUMERIC = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( %)?( ± [\d.]+)?( \[.*\])?|undefined|—|")
MARKED = (  # of prose, after escaping
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<b>\1</b>"),
    (re.compile(r"\*([^*]+)\*"), r"<u>\1</u>"),
    (re.compile(r"\bhttps://[^\s<]*[\w/]"), r'<a href="\g<0>">\g<0></a>'),
)


def as_page(blocks: Sequence[Block], links: Links, figures: Path) -> str:
    """The HTML of all blocks.

    Args:
        figures: the folder in which the figures and their numbers lie.
    """
    title = next((block.text for block in blocks if isinstance(block, Heading)), "Results")
    body = "\n".join(_Page(blocks, links, figures).parts())
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


class _Page:
    def __init__(self, blocks: Sequence[Block], links: Links, figures: Path):
        self.blocks, self.links, self.figures = blocks, links, figures
        runs = [run for block in blocks if isinstance(block, Grid) for run in block.runs]
        self.anchors = {run: f"run-{place}" for place, run in enumerate(runs, start=1)}

    def parts(self) -> Iterator[str]:
        """The body, block by block, with a table of contents before the first section."""
        sections = [block for block in self.blocks if isinstance(block, Heading) and block.level == 2]
        begun = 0
        for block in self.blocks:
            if isinstance(block, Heading) and block.level == 2:
                if not begun and len(sections) > 1:
                    yield _contents(sections)
                begun += 1
                yield f'<h2 id="section-{begun}">{html.escape(block.text)}</h2>'
            elif isinstance(block, Heading):
                yield f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
            elif isinstance(block, Prose):
                yield f"<p>{_marked(block.text)}</p>"
            elif isinstance(block, Listing):
                yield _list(map(_marked, block.items))
            elif isinstance(block, Grid):
                yield self._table(block)
            elif isinstance(block, Picture):
                yield self._figure(block.plot)

    def _table(self, grid: Grid) -> str:
        texts = [[line[place].text for line in grid.lines] for place in range(len(grid.columns))]
        classes = [
            _kind(column) or ("linked" if name == grid.linked else "")
            for name, column in zip(grid.columns, texts, strict=True)
        ]
        head = "".join(
            f"<th{_class(name)}>{html.escape(column)}</th>"
            for name, column in zip(classes, grid.columns, strict=True)
        )
        lines = "\n".join(self._line(grid, place, classes) for place in range(len(grid.lines)))
        head = f"<thead><tr>{head}</tr></thead>"
        return f'<div class="wide"><table>\n{head}\n<tbody>\n{lines}\n</tbody>\n</table></div>'

    def _line(self, grid: Grid, place: int, classes: Sequence[str]) -> str:
        cells = "".join(
            f"<td{_class(name, cell.mark)}>{self._cell(cell)}</td>"
            for name, cell in zip(classes, grid.lines[place], strict=True)
        )
        anchor = f' id="{self.anchors[grid.runs[place]]}"' if grid.runs else ""
        return f"<tr{anchor}{_class('reference' if place < grid.first_row else '')}>{cells}</tr>"

    def _cell(self, cell: Cell) -> str:
        return "".join(map(self._piece, cell.pieces))

    def _piece(self, piece: Piece) -> str:
        text, target = html.escape(piece.text), self._target(piece.runs)
        return f'<a href="{html.escape(target)}">{text}</a>' if target and text else text

    def _target(self, runs: Sequence[Run]) -> str | None:
        """A run's own link; of several the first one's line among all runs."""
        if len(runs) == 1:
            return self.links.of(runs[0])
        return f"#{self.anchors[runs[0]]}" if runs and runs[0] in self.anchors else None

    def _figure(self, plot: Plot) -> str:
        picture, numbers = (self.figures / f"{plot.name}.{kind}" for kind in ("svg", "csv"))
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        csv = f' <a href="{html.escape(self.links.file(numbers) or "")}">Numbers as CSV</a>.'
        return (
            f"<h3>{html.escape(plot.title)}</h3>\n<figure>"
            f'<img alt="{html.escape(plot.title)}" src="data:image/svg+xml;base64,{data}">\n'
            f"<figcaption>{html.escape(plot.caption)}{csv}</figcaption></figure>"
        )


def _contents(sections: Sequence[Heading]) -> str:
    names = (
        f'<a href="#section-{place}">{html.escape(section.text)}</a>'
        for place, section in enumerate(sections, start=1)
    )
    return f"<nav>{_list(names)}</nav>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _kind(texts: Sequence[str]) -> str:
    """The class of a column of such cells."""
    if all(map(NUMERIC.fullmatch, texts)):
        return "number"
    return "short" if max(map(len, texts), default=0) <= SHORT else ""


def _class(*names: str) -> str:
    told = " ".join(filter(None, names))
    return f' class="{told}"' if told else ""


def _marked(text: str) -> str:
    text = html.escape(text)
    for pattern, replacement in MARKED:
        text = pattern.sub(replacement, text)
    return text
