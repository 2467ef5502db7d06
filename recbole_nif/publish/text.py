"""Numbers for people, and markdown of plain text."""

from collections.abc import Iterable, Sequence

NOTHING = "—"


def number(value: float | None, digits: int = 4, sign: str = "") -> str:
    """A metric for people; ``undefined`` for None and NaN."""
    return "undefined" if value is None or value != value else f"{value:{sign}.{digits}f}"


def markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    cells = [columns, ["---"] * len(columns), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)


def bullets(notes: Iterable[str]) -> str:
    """A markdown list."""
    return "\n".join(f"- {note}" for note in notes)
