"""``recbole-nif topk --run FOLDER --users FILE --output FILE``: the items that users would rather click."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from recbole_nif.errors import UserError
from recbole_nif.inference.commands import job_of, lines_of, load, parse, told_how_to_go_on
from recbole_nif.inference.frames import require, times_of
from recbole_nif.inference.resumable_csv import ResumableCSV
from recbole_nif.inference.scorer import Scorer
from recbole_nif.inference.table_files import TableFile, read_once

USERS = 256  # between two saves
TABLES = (".csv", ".tsv", ".txt", ".parquet", ".gz")  # how names of files end

HELP = """\
usage: recbole-nif topk --run FOLDER --users FILE|TOKEN,TOKEN --output FILE [--k N] [--with_seen]
                        [--generated N] [--items FILE] [--events FILE] [--batch_size N] [--key=value ...]

The items with the highest click probabilities, of all that any event has. Killed and started again, it goes
on behind what was written. All files are CSV with a header line; columns are named as in the run's data.

  --run FOLDER     folder of a run, with checkpoints/finetune-best.pt, or of an export
  --users USERS    a file with a column of users, and maybe one of times (else behind all of their events), or
                   tokens with commas between them
  --output FILE    user, rank, item and score, with the item's title where the data have one; - writes to
                   standard output
  --k N            items of each user (default 10)
  --with_seen      also items that the user has an event with
  --generated N    scores only the N items nearest to what AMEN or GenCI generates for the user
  --items FILE     items that came after training, with their features
  --events FILE    events that came after the data's, in the order of time for each user
  --batch_size N   items that are scored at once (default: the run's eval_batch_size)
  --KEY=VALUE      any key of the configuration, such as --data_path=FOLDER or --device=cpu
"""


def main(argv: Sequence[str]) -> int:
    """Ranks items for the users that ``argv`` names.

    Raises:
        UserError: a mistake in the options, the run or a file; what was written until then stays.
        KeyboardInterrupt: after Ctrl-C; says how to go on.
    """
    options, settings = parse("topk", argv, ("run", "users", "output"), _add_options)
    if options.help:
        print(HELP)
        return 0
    if options.k < 1:
        raise UserError(f"--k is {options.k}: give at least 1.")
    with told_how_to_go_on(options):
        _topk(options, settings)
    return 0


def _topk(options: argparse.Namespace, settings: Sequence[str]) -> None:
    scorer = load(options, settings)
    names, user = scorer.data.names, scorer.data.user_field
    titled = names.titles is not names.items
    columns = [user, "rank", scorer.data.item_field, "score", *(["title"] if titled else [])]
    chosen = {"k": options.k, "seen": options.with_seen, "generated": options.generated}
    job = job_of(options, settings, command="topk", users=options.users, **chosen)
    output = ResumableCSV(options.output, columns, job)
    if output.finished:
        print(f"{options.output} is complete already.")
        return
    try:
        for frame in _users(options, user, output.done):
            ranked = [_ranked(scorer, options, *row) for row in _rows(scorer, frame)]
            output.write(pd.concat(ranked), len(frame))
    except (UserError, KeyboardInterrupt):
        output.discard_if_empty()
        raise
    output.finish()


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--with_seen", action="store_true")
    parser.add_argument("--generated", type=int)


def _users(options: argparse.Namespace, user: str, skip: int) -> Iterator[pd.DataFrame]:
    """Tables of users, each with the times of their requests if there are any."""
    if read_once(options.users) or os.path.isfile(options.users):
        file = TableFile(options.users, "--users")
        for frame in file.chunks(USERS, skip):
            with lines_of(file, frame):
                require(frame, [user])
            frame.attrs["file"] = file
            yield frame
        return
    if Path(options.users).suffix in TABLES and "," not in options.users:
        raise UserError(
            f"--users {options.users} does not exist: give a file, or tokens with commas between."
        )
    tokens = [token for token in options.users.split(",") if token]
    if not tokens:
        raise UserError("--users is empty: give a file, or tokens with commas between.")
    for first in range(skip, len(tokens), USERS):
        yield pd.DataFrame({user: tokens[first : first + USERS]})


def _rows(scorer: Scorer, frame: pd.DataFrame) -> Iterator[tuple[str, float | None]]:
    """Token and time of each request."""
    time, at = scorer.data.rule.time, [None] * len(frame)
    if time in frame:
        with lines_of(frame.attrs["file"], frame):
            at = times_of(frame, time)
    return zip(frame[scorer.data.user_field], at, strict=True)


def _ranked(scorer: Scorer, options: argparse.Namespace, token: str, at: float | None) -> pd.DataFrame:
    data = scorer.data
    found = scorer.topk(
        token, options.k, exclude_seen=not options.with_seen, at=at, generated=options.generated
    )
    titles = [data.names.titles[item] for item in data.columns.ids(data.item_field, found["item"])]
    return pd.DataFrame({
        data.user_field: token,
        "rank": range(1, len(found) + 1),
        data.item_field: found["item"],
        "score": [f"{score:.9g}" for score in found["score"]],
        "title": titles,
    })  # fmt: skip
