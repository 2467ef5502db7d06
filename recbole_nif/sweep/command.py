"""``recbole-nif --sweep=FILE``: plans, does and publishes many runs."""

import argparse
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.trial import TrialState

from recbole_nif.config_parsing import parse_argv
from recbole_nif.errors import UserError
from recbole_nif.publish.inputs import ACCOUNT
from recbole_nif.resources import props_dir
from recbole_nif.sweep.ledger import Ledger
from recbole_nif.sweep.outcome import make_folder, several_splits, write_account, write_tables, write_winners
from recbole_nif.sweep.plan import Sweep
from recbole_nif.sweep.screen import heading, listing, progress
from recbole_nif.sweep.sweep_file import find_sweep, read_sweep
from recbole_nif.sweep.work import work

JOURNAL = "journal.log"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UserError(f"--sweep: {message}; recbole-nif --help shows the options.")


def main(argv: Sequence[str]) -> int:
    """Does the sweep that ``argv`` names; 1 if a run of it has failed, else 0.

    Raises:
        UserError: a mistake in the options, the sweep file or the storage.
        KeyboardInterrupt: after Ctrl-C; says how to go on.
    """
    # Heartbeats and queueing again, which optuna has had for years.
    warnings.filterwarnings("ignore", category=ExperimentalWarning)
    options, settings = parse(argv)
    file = find_sweep(options.sweep)
    sweep = read_sweep(file, parse_argv(settings))
    if options.dry_run:
        begun = (sweep.folder / ACCOUNT).is_file()  # else nobody has opened its storage yet
        print(listing(sweep, _ledger(sweep, options) if begun else None))
        return 0
    try:
        return _do(sweep, options)
    except StorageInternalError as error:
        raise UserError(f"The storage does not answer ({error}): start the sweep again to go on.") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"The sweep was interrupted; go on with the same command: {' '.join(argv)}"
        ) from None


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The sweep's own options, and the options that belong to the configuration of all its runs."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--sweep", required=True)
    parser.add_argument("--storage")
    parser.add_argument("--dry_run", action="store_true")
    parser.add_argument("--retry_failed", action="store_true")
    parser.add_argument("--save_tuned", type=Path, nargs="?", const=props_dir() / "tuned")
    return parser.parse_known_args(argv)


def _do(sweep: Sweep, options: argparse.Namespace) -> int:
    if options.save_tuned:
        if several_splits(sweep):
            raise UserError(
                "--save_tuned keeps one set of values for a model and dataset, but the sweep has several "
                f"splits: leave it out and take what you want from {sweep.folder / 'tuned'}."
            )
        make_folder(options.save_tuned, "--save_tuned")
    make_folder(sweep.folder, "--checkpoint_dir")
    ledger = _ledger(sweep, options)
    if options.retry_failed:
        ledger.retry_failed()
    print(heading(sweep))
    screen = _Screen()
    try:
        write_account(sweep, ledger)
        work(sweep, ledger, lambda now: screen.show(progress(sweep, ledger), now))
    finally:
        write_account(sweep, ledger)
    tables = write_tables(sweep)
    print(tables.read_text(encoding="utf-8"))
    targets = [sweep.folder / "tuned", *([options.save_tuned] if options.save_tuned else [])]
    print(*[tables, *write_winners(sweep, ledger, targets)], sep="\n")
    states = {trial.state for part in sweep.parts for trial in ledger.trials(part)}
    return int(TrialState.FAIL in states)


def _ledger(sweep: Sweep, options: argparse.Namespace) -> Ledger:
    return Ledger(sweep, options.storage or str(sweep.folder / JOURNAL))


class _Screen:
    """One screen that is drawn anew on a terminal; elsewhere a line whenever its counts have changed."""

    def __init__(self):
        self._before: list[str] = []

    def show(self, lines: list[str], now: str) -> None:
        if sys.stdout.isatty():
            width, height = shutil.get_terminal_size()
            drawn = [line[: width - 1] for line in [*lines, now][: height - 1]]
            print("\x1b[2J\x1b[H" + "\n".join(drawn), flush=True)
        elif lines != self._before:
            print(" | ".join([*lines[1:], now]), flush=True)
        self._before = lines
