"""``recbole-nif results RUN…``: tables of runs, printed or written to a file, and a copy of their records."""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_nif.config_keys import did_you_mean
from recbole_nif.errors import UserError
from recbole_nif.publish.differences import EXPLANATION, Pair, default_pairs, difference_table
from recbole_nif.publish.runs import INDIFFERENT, Run, Table, read_runs, setting, tables_of
from recbole_nif.publish.tables import heading, metrics_table
from recbole_nif.run_folder import write_json, write_text


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the command line asks for; 2 for a user's mistake, which is told in one sentence."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help or what is wrong
        return stop.code
    try:
        _publish(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: Cannot write {error.filename} ({error.strerror}).", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("recbole-nif results", description="Tables of finished runs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, or its result.json")
    parser.add_argument(
        "--out", metavar="FILE.md", type=Path, help="write the tables there instead of printing"
    )
    parser.add_argument("--against", metavar="ROW", help="compare every row with this one, by its label")
    parser.add_argument(
        "--compare", nargs=2, action="append", default=[], metavar="ROW", help="compare two rows, by label"
    )
    parser.add_argument(
        "--collect", metavar="FOLDER", type=Path, help="copy every run's result.json there, named by its run"
    )
    return parser


def _publish(options: argparse.Namespace) -> None:
    tables = tables_of(read_runs(options.runs))
    _check_labels(tables, options.against, options.compare)
    text = document(tables, options.against, options.compare)
    if options.collect:
        print("\n".join(map(str, collect(tables, options.collect))), file=sys.stderr)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(options.out, text)
        print(options.out)
    else:
        print(text, end="")


def document(
    tables: Sequence[Table], against: str | None = None, compare: Sequence[tuple[str, str]] = ()
) -> str:
    """The whole markdown file: where the figures come from, the tables, and the paired differences.

    Args:
        against: label of a row that all others of its table are compared with.
        compare: labels of further rows to compare, first minus second.
    """
    parts = [_origin(tables)]
    for table in tables:
        parts += [heading(table), metrics_table(table)]
        differences = difference_table([*default_pairs(table), *_chosen(table, against, compare)])
        if differences:
            parts += ["### Paired differences", EXPLANATION, differences]
    return "\n\n".join(parts) + "\n"


def _origin(tables: Sequence[Table]) -> str:
    records = [run.record for table in tables for run in table.runs]

    def distinct(texts: Iterable[str], between: str = ", ") -> str:
        return between.join(dict.fromkeys(sorted(texts)))

    dates = distinct(record["date"][:10] for record in records)
    devices = distinct(f"{r['device']['name']} (threads: {r['threads']})" for r in records)
    commits = distinct(_short(record["git_commit"]) for record in records)
    packages = dict.fromkeys(name for record in records for name in record["versions"])
    versions = ", ".join(
        f"{name} {distinct((r['versions'].get(name, 'unknown') for r in records), ' and ')}"
        for name in packages
    )
    return f"""\
# Results on {", ".join(dict.fromkeys(record["dataset"] for record in records))}

Written by `recbole-nif results`, not by hand. Metrics on the test rows, mean ± standard deviation over seeds;
`hours` are of the whole run, `rows/s` and `epochs` of its last stage. A row is named by its model and by the
settings that differ from the model's defaults on these data.

- Runs: {len(records)}, finished on {dates}.
- Devices: {devices}.
- Commits: {commits}.
- Versions: {versions}."""


def _short(commit: str | None) -> str:
    name, dirty, _ = (commit or "unknown").partition("-dirty")
    return name[:10] + dirty


def _chosen(table: Table, against: str | None, compare: Sequence[tuple[str, str]]) -> list[Pair]:
    base = table.row(against) if against else None
    pairs = [(row, base) for row in table.rows if base and row is not base]
    named = [(table.row(first), table.row(second)) for first, second in compare]
    return pairs + [pair for pair in named if all(pair)]


def _check_labels(tables: Sequence[Table], against: str | None, compare: Sequence[tuple[str, str]]) -> None:
    known = [[row.label for row in table.rows] for table in tables]
    every = sorted({label for labels in known for label in labels})
    for label in [*([against] if against else []), *(label for pair in compare for label in pair)]:
        if label not in every:
            hint = did_you_mean(label, every)
            raise UserError(f"No row is called {label!r}{hint} There are: {'; '.join(every)}.")
    for pair in compare:
        if not any({*pair} <= {*labels} for labels in known):
            raise UserError(f"{' and '.join(pair)} were run on different conditions: no table has both.")


def collect(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Copies the record of every run in the tables to ``<Model>[-variant]-<split>-s<seed>.json``.

    Raises:
        UserError: two runs would have the same name.
    """
    runs = [run for table in tables for row in table.rows for run in row.runs]
    named = {}
    for run in runs:
        if named.setdefault(_file_name(run), run) is not run:
            other = named[_file_name(run)]
            raise UserError(
                f"{run.name} and {other.name} would both be {_file_name(run)}: collect them apart."
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name, run in named.items():
        write_json(folder / name, _with_settings(run))
    return [folder / name for name in named]


def _file_name(run: Run) -> str:
    record = run.record
    unnamed = {*INDIFFERENT, "eval_args", "split_preset"}
    settings = [
        setting(key, value)
        for key, value in sorted(run.settings.items())
        if key.partition(".")[0] not in unnamed
    ]
    parts = [record["model"].rpartition(":")[2], *settings, record["split"]["preset"], f"s{run.seed}"]
    return re.sub(r"[^\w.=+-]+", "_", "-".join(parts)) + ".json"


def _with_settings(run: Run) -> Mapping[str, Any]:
    return dict(run.record) | ({"settings": run.settings} if run.settings_known else {})
