"""A report as markdown: without its pictures, and with links in one column of a table only."""

from collections.abc import Iterable

from recbole_nif.publish.blocks import BEST, SECOND, Block, Cell, Grid, Heading, Listing, Prose
from recbole_nif.publish.links import Links
from recbole_nif.publish.text import bullets, markdown

MARKS = {"": "", BEST: "**", SECOND: "*"}


def as_markdown(blocks: Iterable[Block], links: Links) -> str:
    """The text of all blocks but the pictures."""
    return "\n\n".join(text for block in blocks if (text := _block(block, links))) + "\n"


def _block(block: Block, links: Links) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Prose):
        return block.text
    if isinstance(block, Listing):
        return bullets(block.items)
    return _table(block, links) if isinstance(block, Grid) else ""


def _table(grid: Grid, links: Links) -> str:
    linked = [column == grid.linked for column in grid.columns]
    lines = [
        [_cell(cell, links if link else Links()) for cell, link in zip(line, linked, strict=True)]
        for line in grid.lines
    ]
    return markdown(grid.columns, lines)


def _cell(cell: Cell, links: Links) -> str:
    text = ""
    for piece in cell.pieces:
        target = links.of(piece.runs[0]) if len(piece.runs) == 1 else None
        text += f"[{piece.text}]({target})" if target else piece.text
    return f"{MARKS[cell.mark]}{text}{MARKS[cell.mark]}"
