"""A report from top to bottom: where its figures come from, a section per table, papers, what is missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recbole_nif.publish.blocks import Block, Grid, Heading, Listing, Picture, Prose, cell
from recbole_nif.publish.chosen import chosen_pairs
from recbole_nif.publish.differences import (
    EXPLANATION,
    Compared,
    compare,
    default_pairs,
    difference_grid,
    reasons,
)
from recbole_nif.publish.published import published_blocks
from recbole_nif.publish.runs import Absent, Run, Table, tables_of
from recbole_nif.publish.tables import metrics_blocks, run_grid, short_commit

LEGEND = """\
Written by `recbole-nif report`, not by hand. Metrics on the test rows, mean ± standard deviation over seeds;
of each metric the **best** and the *second* mean are marked, whether they differ is said below the table.
`hours` are of the whole run, with a stage 1 that several runs share in each of them; `rows/s` (training)
and `epochs` are of the last stage; `ms/1,000 rows` is the time to score the test rows once, reading them
included. A row is named by its model and by the settings that differ from the model's defaults on these data;
what all rows share is said above the table."""


@dataclass(frozen=True)
class Report:
    """What is reported.

    Attributes:
        tables: runs on the same conditions.
        compared: the differences below each table.
        absent: runs without a result that belong to no table.
    """

    tables: list[Table]
    compared: list[list[Compared]]
    absent: list[Absent]

    @classmethod
    def of(
        cls,
        runs: Sequence[Run],
        absent: Sequence[Absent] = (),
        against: str | None = None,
        pairs: Sequence[tuple[str, str]] = (),
    ) -> "Report":
        """The report on these runs.

        Args:
            against: label of a row that all others of its table are compared with.
            pairs: labels of further rows to compare, first minus second.

        Raises:
            UserError: labels that no row has, or rows that cannot be compared.
        """
        tables = tables_of(runs, absent)
        chosen = chosen_pairs(tables, against, pairs)
        compared = [
            compare([*default_pairs(table), *further]) for table, further in zip(tables, chosen, strict=True)
        ]
        left = [run for run in absent if not any(run.belongs_to(table.record) for table in tables)]
        return cls(tables, compared, left)

    def blocks(self) -> list[Block]:
        """Everything but the figures."""
        return self._blocks([[] for _ in self.tables])

    def blocks_with_figures(self) -> list[Block]:
        """Everything, with figures and a line for every single run."""
        from recbole_nif.publish.ablation import ablation_bars  # matplotlib, for a page only
        from recbole_nif.publish.curves import learning_curves
        from recbole_nif.publish.sensitivity import sensitivity_curves

        figures: list[list[Block]] = []
        for table, compared, prefix in zip(self.tables, self.compared, self._prefixes(), strict=True):
            plots = [
                *ablation_bars(compared, prefix),
                *sensitivity_curves(table, prefix),
                *learning_curves(table, prefix),
            ]
            every = [Heading(3, "Every run"), run_grid(table)] if table.rows else []
            figures.append([*(Picture(plot) for plot in plots), *every])
        return self._blocks(figures)

    def _blocks(self, more: Sequence[list[Block]]) -> list[Block]:
        blocks = [*_origin(self.tables)]
        for table, compared, further in zip(self.tables, self.compared, more, strict=True):
            blocks += [*metrics_blocks(table), *_differences(compared), *further]
        return [*blocks, *published_blocks(self.tables), *_missing(self.absent)]

    def _prefixes(self) -> list[str]:
        """How the names of the tables' figures begin."""
        return [
            f"{place}-{table.record['dataset']}-{table.record['split']['preset']}"
            for place, table in enumerate(self.tables, start=1)
        ]


def _origin(tables: Sequence[Table]) -> list[Block]:
    records = [run.record for table in tables for run in table.runs]
    if not records:
        return [Heading(1, "Results")]

    def distinct(texts: Iterable[str], between: str = ", ") -> str:
        return between.join(dict.fromkeys(sorted(texts)))

    dates = distinct(record["date"][:10] for record in records)
    devices = distinct(f"{r['device']['name']} (threads: {r['threads']})" for r in records)
    commits = distinct(short_commit(record["git_commit"]) for record in records)
    packages = dict.fromkeys(name for record in records for name in record["versions"])
    versions = ", ".join(
        f"{name} {distinct((r['versions'].get(name, 'unknown') for r in records), ' and ')}"
        for name in packages
    )
    return [
        Heading(1, f"Results on {', '.join(dict.fromkeys(record['dataset'] for record in records))}"),
        Prose(LEGEND),
        Listing(
            [
                f"Runs: {len(records)}, finished on {dates}.",
                f"Devices: {devices}.",
                f"Commits: {commits}.",
                f"Versions: {versions}.",
            ]
        ),
    ]


def _differences(compared: Sequence[Compared]) -> list[Block]:
    if not compared:
        return []
    notes = reasons(compared)
    blocks = [Heading(3, "Paired differences"), Prose(EXPLANATION), difference_grid(compared)]
    return [*blocks, *([Listing(notes)] if notes else [])]


def _missing(absent: Sequence[Absent]) -> list[Block]:
    if not absent:
        return []
    columns = ("run", "dataset", "split", "why it has no result")
    lines = [[cell(text) for text in (run.name, run.dataset, run.split or "", run.why)] for run in absent]
    return [Heading(2, "Without a result"), Grid(columns, lines)]
