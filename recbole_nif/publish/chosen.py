"""Which rows a user wants compared, by their labels, beside the pairs that every report has."""

from collections.abc import Sequence

from recbole_nif.config_keys import did_you_mean
from recbole_nif.errors import UserError
from recbole_nif.publish.differences import Pair
from recbole_nif.publish.runs import Table


def chosen_pairs(
    tables: Sequence[Table], against: str | None, pairs: Sequence[tuple[str, str]]
) -> list[list[Pair]]:
    """The pairs of each table, first minus second.

    Args:
        against: label of a row that all others of its table are compared with.
        pairs: labels of further rows to compare.

    Raises:
        UserError: no row has such a label; a pair has one row twice, or no table has both of its rows.
    """
    _check_labels([[row.label for row in table.rows] for table in tables], against, pairs)
    return [_of_table(table, against, pairs) for table in tables]


def _check_labels(
    known: Sequence[Sequence[str]], against: str | None, pairs: Sequence[tuple[str, str]]
) -> None:
    every = sorted({label for labels in known for label in labels})
    for label in [*([against] if against else []), *(label for pair in pairs for label in pair)]:
        if label not in every:
            hint = did_you_mean(label, every)
            raise UserError(f"No row is called {label!r}{hint} There are: {'; '.join(every)}.")
    for first, second in pairs:
        if first == second:
            raise UserError(
                f"--compare takes two rows, {first!r} was given twice; name another: {'; '.join(every)}."
            )
        if not any({first, second} <= {*labels} for labels in known):
            raise UserError(f"{first} and {second} were run on different conditions: no table has both.")


def _of_table(table: Table, against: str | None, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
    base = table.row(against) if against else None
    chosen = [(row, base) for row in table.rows if base and row is not base]
    named = [(table.row(first), table.row(second)) for first, second in pairs]
    return chosen + [pair for pair in named if all(pair)]
