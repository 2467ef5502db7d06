"""A mistake in one row of a table."""

from recbole_nif.errors import UserError


class RowError(UserError):
    """Names the row by its number; who read the table from a file names the line instead.

    Args:
        row: from 0.
        problem: the rest of the sentence.
    """

    def __init__(self, row: int, problem: str):
        super().__init__(f"Row {row + 1}: {problem}")
        self.row, self.problem = int(row), problem
