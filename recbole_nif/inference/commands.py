"""What the commands ``score`` and ``topk`` share: options, the scorer, mistakes told by file and line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pandas as pd

from recbole_nif.command_parser import CommandParser
from recbole_nif.errors import UserError
from recbole_nif.export.read import WEIGHTS, is_export
from recbole_nif.inference.frames import require
from recbole_nif.inference.resumable_csv import digest
from recbole_nif.inference.row_error import RowError
from recbole_nif.inference.scorer import Scorer
from recbole_nif.inference.table_files import STANDARD, TableFile, read_once

ROWS = 65_536  # of a file that are read at once
FILES = ("items", "events", "input", "users")  # options that name what is read


def parse(
    command: str, argv: Sequence[str], needed: Sequence[str], add: Callable[[argparse.ArgumentParser], None]
) -> tuple[argparse.Namespace, list[str]]:
    """The command's own options, and those that belong to the configuration.

    Args:
        command: its name; needed: options that must be there; add: adds what is the command's alone.

    Raises:
        UserError: an option is missing or wrong.
    """
    parser = CommandParser(command)
    for name in ("--run", "--output", "--items", "--events"):
        parser.add_argument(name)
    parser.add_argument("--batch_size", type=int)
    add(parser)
    options, settings = parser.parse_known_args(list(argv))
    if options.help:
        return options, settings
    missing = [name for name in needed if getattr(options, name) is None]
    if missing:
        raise UserError(
            f"{command} needs --{' and --'.join(missing)}; recbole-nif {command} --help shows its options."
        )
    if options.batch_size is not None and options.batch_size < 1:
        raise UserError(f"--batch_size is {options.batch_size}: give at least 1.")
    for name, path in _files(options).items():
        if os.path.isfile(path) and os.path.realpath(path) == os.path.realpath(options.output):
            raise UserError(f"--{name} and --output are the same file, {path}: name another --output.")
    return options, settings


def load(options: argparse.Namespace, settings: Sequence[str]) -> Scorer:
    """The scorer of ``--run``, with what ``--items`` and ``--events`` add to it.

    Raises:
        UserError: a mistake in the run or in one of the files.
    """
    scorer = Scorer.load(options.run, settings=settings)
    if options.batch_size is not None:
        scorer.engine.batch_size = options.batch_size
    if options.items is not None:
        file = TableFile(options.items, "--items")
        for frame in file.chunks(ROWS):
            with lines_of(file, frame):
                scorer.add_items(frame)
    if options.events is not None:
        file, user = TableFile(options.events, "--events"), scorer.data.user_field
        for frame in file.chunks(ROWS):
            with lines_of(file, frame):
                require(frame, [user])
            for token, own in frame.groupby(user, sort=False):
                with lines_of(file, own):
                    scorer.update(token, own)
    return scorer


def job_of(options: argparse.Namespace, settings: Sequence[str], **others) -> dict:
    """What the lines of an output depend on."""
    digests = {name: digest(path) for name, path in _files(options).items()}
    once = uuid4().hex if _reads_once(options) else None  # nobody knows what comes next time
    weights = digest(_weights(Path(options.run)))
    return {"run": weights, "settings": sorted(settings), "files": digests, "once": once, **others}


@contextmanager
def told_how_to_go_on(options: argparse.Namespace) -> Iterator[None]:
    """Ctrl-C ends the command with a sentence that says whether it can go on."""
    try:
        yield
    except KeyboardInterrupt:
        advice = f"the same command goes on with {options.output}."
        if options.output == STANDARD or _reads_once(options):
            advice = "what it has written is not complete, and it has to begin anew."
        raise KeyboardInterrupt(f"The command was interrupted; {advice}") from None


def _files(options: argparse.Namespace) -> dict[str, str]:
    named = {name: getattr(options, name, None) for name in FILES}
    return {name: path for name, path in named.items() if path}


def _reads_once(options: argparse.Namespace) -> bool:
    return any(read_once(path) for path in _files(options).values())


def _weights(run: Path) -> Path:
    return run / WEIGHTS if is_export(run) else run / "checkpoints" / "finetune-best.pt"


@contextmanager
def lines_of(file: TableFile, frame: pd.DataFrame) -> Iterator[None]:
    """Names the line of ``file`` where a row of ``frame`` is wrong, and the file otherwise."""
    try:
        yield
    except RowError as error:
        raise UserError(f"{file.name}, line {frame.index[error.row]}: {error.problem}") from None
    except UserError as error:
        raise UserError(f"{file.name}: {error}") from None
