"""``recbole-nif score --run FOLDER --input FILE --output FILE``: a score for every pair of a file."""

import argparse
from collections.abc import Sequence

from recbole_nif.errors import UserError
from recbole_nif.inference.commands import ROWS, job_of, lines_of, load, parse, told_how_to_go_on
from recbole_nif.inference.resumable_csv import ResumableCSV
from recbole_nif.inference.table_files import TableFile, read_once

SCORE = "score"

HELP = """\
usage: recbole-nif score --run FOLDER --input FILE --output FILE [--items FILE] [--events FILE]
                         [--batch_size N] [--key=value ...]

The click probabilities that a trained model gives pairs of users and items. Killed and started again, it goes
on behind what was written. All files are CSV with a header line; columns are named as in the run's data.

  --run FOLDER     folder of a run, with checkpoints/finetune-best.pt, or of an export
  --input FILE     columns of user and item; with a column of times each pair is scored as of its own, else
                   behind all events of its user; columns of the impression are read where models do. - reads
                   standard input
  --output FILE    all columns of the input, and score; - writes to standard output
  --items FILE     items that came after training, with their features
  --events FILE    events that came after the data's, in the order of time for each user
  --batch_size N   pairs that are scored at once (default: the run's eval_batch_size)
  --KEY=VALUE      any key of the configuration, such as --data_path=FOLDER or --device=cpu
"""


def main(argv: Sequence[str]) -> int:
    """Scores what ``argv`` names.

    Raises:
        UserError: a mistake in the options, the run or a file; what was written until then stays.
        KeyboardInterrupt: after Ctrl-C; says how to go on.
    """
    options, settings = parse(
        "score", argv, ("run", "input", "output"), lambda parser: parser.add_argument("--input")
    )
    if options.help:
        print(HELP)
        return 0
    with told_how_to_go_on(options):
        _score(options, settings)
    return 0


def _score(options: argparse.Namespace, settings: Sequence[str]) -> None:
    file = TableFile(options.input, "--input")
    output = None
    if not read_once(options.input):
        output = _output(options, settings, file.header())
        if output.finished:
            print(f"{options.output} is complete already.")
            return
    try:
        scorer = load(options, settings)
        for frame in file.chunks(ROWS, skip=0 if output is None else output.done):
            output = output or _output(options, settings, list(frame.columns))
            with lines_of(file, frame):
                scores = scorer.score_pairs(frame)
            output.write(frame.assign(**{SCORE: [f"{score:.9g}" for score in scores]}), len(frame))
    except (UserError, KeyboardInterrupt):
        if output is not None:
            output.discard_if_empty()
        raise
    if output is not None:
        output.finish()


def _output(options, settings: Sequence[str], header: Sequence[str]) -> ResumableCSV:
    if SCORE in header:
        raise UserError(f"{options.input} has a column {SCORE!r} already: rename it.")
    job = job_of(options, settings, command="score", columns=list(header))
    return ResumableCSV(options.output, [*header, SCORE], job)
