"""``recbole-nif report RUN…``: tables of runs, printed, or as files with figures and the runs' records.

``--out results/NAME.md`` writes the tables there, ``NAME.html``, one page that holds the figures too, and
``NAME-figures/`` with every figure and its numbers as CSV.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recbole_nif.errors import UserError
from recbole_nif.publish.collect import collect
from recbole_nif.publish.document import Report
from recbole_nif.publish.inputs import read_inputs
from recbole_nif.publish.links import Links
from recbole_nif.publish.markdown import as_markdown
from recbole_nif.run_folder import write_text


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
    except BrokenPipeError:  # nobody reads what is printed: no mistake
        raise
    except OSError as error:
        place = error.filename or options.out or options.collect or "standard output"
        print(
            f"error: {place}: {error.strerror or error}; free space or check who may read and write it.",
            file=sys.stderr,
        )
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("recbole-nif report", description="Tables and figures of runs.")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a run's folder or result.json, a sweep's folder, or one of runs",
    )
    parser.add_argument(
        "--out",
        metavar="FILE.md",
        type=Path,
        help="write the tables there, and a page with figures beside it, instead of printing",
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
    if options.out and options.out.suffix != ".md":
        raise UserError(f"--out {options.out} must end in .md; the page beside it ends in .html.")
    runs, absent = read_inputs(options.runs)
    report = Report.of(runs, absent, options.against, options.compare)
    copies = collect(report.tables, options.collect) if options.collect else {}
    if copies:
        print("\n".join(map(str, copies.values())), file=sys.stderr)
    if options.out:
        files = write_report(report, options.out, Links(options.out.parent, copies))
        print("\n".join(map(str, files)))
    else:
        print(as_markdown(report.blocks(), Links()), end="")


def write_report(report: Report, out: Path, links: Links) -> list[Path]:
    """Writes the tables to ``out``, the page beside it, and the page's figures with their numbers.

    Returns:
        the tables and the page.
    """
    from recbole_nif.publish.page import as_page  # matplotlib, for a page only
    from recbole_nif.publish.plots import write_plots

    page, figures = out.with_suffix(".html"), out.with_name(f"{out.stem}-figures")
    out.parent.mkdir(parents=True, exist_ok=True)
    blocks = report.blocks_with_figures()
    write_plots(blocks, figures)
    write_text(page, as_page(blocks, links, figures))
    text = as_markdown(report.blocks(), links)
    write_text(
        out, f"{text}\nThe same with figures, and every single run: [{page.name}]({links.file(page)}).\n"
    )
    return [out, page]


if __name__ == "__main__":
    sys.exit(main())
