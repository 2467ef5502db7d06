"""All benchmarks, one after another, each in a process of its own, and what they say of the targets.

python -m tests.benchmarks.run [--dataset=ml-1m] [--only=din,amen] [--out=FILE.json] [--compare=OLD.json]

Writes every table as JSON to FILE.json and as markdown beside it, each as soon as it is there; a benchmark
that fails is named, leaves the others alone and makes the exit code 1. ``--compare`` lists what is slower
than in an earlier FILE.json by more than a tenth. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.timing import described, machine, markdown

BENCHMARKS = ("data_path", "din", "dien", "amen", "genci", "scoring", "latency", "floor", "profiles")
NOISE = 0.1  # by what share a figure must be worse to be named


class Target(NamedTuple):
    """A cell of a benchmark's table, by the first cells of its row, and what it should reach."""

    what: str
    benchmark: str
    row: tuple
    column: str
    least: float


TARGETS = (
    Target("history memory", "data_path", ("history memory, MB",), "times better", 20),
    Target("build, files to first batch", "data_path", ("build, s",), "times better", 3),
    Target("loader, complete batches", "data_path", ("loader, rows/s",), "times better", 10),
    Target("DIN training, equal sizes", "din", ("equal sizes (same layer sizes)",), "times faster", 1.5),
    Target("DIN training, defaults", "din", ("defaults (different architectures)",), "times faster", 12),
    Target(
        "DIEN training, equal sizes", "dien", ("equal sizes (same layer sizes), packed",), "times faster", 15
    ),
    Target("DIEN training, defaults", "dien", ("defaults (different architectures)",), "times faster", 30),
    Target("AMEN stage 2, single rows, of NIFDIN", "amen", ("AMEN stage 2, single rows",), "of NIFDIN", 0.2),
    Target("AMEN stage 2, rows of a window, of NIFDIN", "amen", ("AMEN stage 2",), "of NIFDIN", 0.5),
    Target(
        "AMEN stage 1 epochs in one of NIFDIN", "amen", ("AMEN stage 1 (cuts)",), "epochs in one of NIFDIN", 1
    ),
    Target("GenCI training beside plain T5", "genci", ("items, packed (default)",), "times plain T5", 20),
    Target("1,000 candidates, NIFDIN", "latency", ("NIFDIN", 1000), "times faster", 1.5),
    Target("1,000 candidates, AMEN", "latency", ("AMEN", 1000), "times faster", 5),
    Target("1,000 candidates, GenCI", "latency", ("GenCI", 1000), "times faster", 20),
    Target("share of the floor, NIFDIN", "floor", ("NIFDIN",), "share, %", 50),
    Target("share of the floor, AMEN stage 2", "floor", ("AMEN stage 2",), "share, %", 50),
)


def table_of(benchmark: str, dataset: str) -> dict:
    """The table that a benchmark writes; what it prints goes to the screen."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "table.json")
        command = [sys.executable, "-W", "ignore", "-m", f"tests.benchmarks.{benchmark}"]
        subprocess.run([*command, f"--dataset={dataset}", f"--out={out}"], check=True)
        return json.loads(out.read_text())


def cell(table: dict, row: tuple, column: str) -> float | None:
    """The figure in a row, named by its first cells; None where there is none."""
    found = [cells for cells in table["rows"] if tuple(cells[: len(row)]) == row]
    value = found[0][table["header"].index(column)] if found and column in table["header"] else None
    return value if isinstance(value, int | float) else None


def verdicts(tables: dict[str, dict]) -> list[list]:
    """One row for each target of the benchmarks that were run."""
    rows = []
    for what, benchmark, row, column, least in TARGETS:
        if benchmark in tables:
            value = cell(tables[benchmark], row, column)
            word = "missing" if value is None else "reached" if value >= least else "not reached"
            rows.append([what, f"{least:g}", "—" if value is None else value, word])
    return rows


def slower(new: dict[str, dict], old: dict[str, dict]) -> list[list]:
    """The figures of ``new`` that are worse than those of ``old`` by more than ``NOISE``."""
    rows = []
    for benchmark in new.keys() & old.keys():
        header = new[benchmark]["header"]
        for cells in new[benchmark]["rows"]:
            names = tuple(value for value in cells[:2] if isinstance(value, str)) or (cells[0],)
            for column, value in zip(header, cells, strict=True):
                before = cell(old[benchmark], names, column)
                if before is None or not isinstance(value, int | float) or not before or not value:
                    continue
                is_time = column.endswith(("ms", ", s", "p99", "seconds", "MB"))
                ratio = value / before if is_time else before / value
                if ratio > 1 + NOISE:
                    rows.append([benchmark, " ".join(map(str, names)), column, before, value, ratio])
    return sorted(rows, key=lambda row: -row[-1])


def summary_of(tables: dict[str, dict], old: Path | None) -> str:
    """The targets, and what is slower than in the file ``old``, as markdown."""
    summary = markdown("Targets", ["what", "at least", "measured", ""], verdicts(tables))
    if old:
        header = ["benchmark", "row", "figure", "before", "now", "times worse"]
        worse = slower(tables, json.loads(old.read_text())["tables"])
        summary += markdown(f"Slower than in {old.name}", header, worse)
    return summary


def write(out: Path, tables: dict[str, dict], summary: str) -> None:
    """All tables as JSON to ``out`` and as markdown beside it, the machine and the summary first."""
    facts = machine()
    out.write_text(json.dumps({"machine": facts, "tables": tables}, indent=1) + "\n")
    sections = [markdown(table["title"], table["header"], table["rows"]) for table in tables.values()]
    out.with_suffix(".md").write_text("".join([described(facts), "\n", summary, *sections]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--only", default=",".join(BENCHMARKS), help=f"some of {', '.join(BENCHMARKS)}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--compare", type=Path)
    options = parser.parse_args()
    tables: dict[str, dict] = {}
    chosen = options.only.split(",")
    if unknown := set(chosen) - set(BENCHMARKS):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}: use {', '.join(BENCHMARKS)}")
    for name in chosen:
        try:
            tables[name] = table_of(name, options.dataset)
        except subprocess.CalledProcessError as failure:
            print(f"The benchmark {name} failed with exit code {failure.returncode}.", file=sys.stderr)
        if options.out:
            write(options.out, tables, summary_of(tables, options.compare))
    print(summary_of(tables, options.compare))
    sys.exit(len(tables) < len(chosen))


if __name__ == "__main__":
    main()
