"""A score with its reasons."""

from dataclasses import dataclass

from recbole_nif.analysis.explain_command import table
from recbole_nif.analysis.parts import Part


@dataclass(frozen=True)
class Explained:
    """What a model tells of one score.

    Attributes:
        user, item: tokens; score: the click probability.
        parts: tables of events, flow vectors or cohorts; none of a model that tells nothing.
    """

    user: str
    item: str
    score: float
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        """As markdown."""
        sections = [f"# User {self.user}, item {self.item}", f"Score {self.score:.4f}."]
        for part in self.parts:
            sections += [f"## {part.title}", part.note]
            if part.cells:
                sections.append(table(part))
        if not self.parts:
            sections.append("The model tells nothing of how it comes to a score.")
        return "\n\n".join(sections) + "\n"
