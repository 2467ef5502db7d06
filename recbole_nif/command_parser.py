"""The parser of a command's own options; what it does not know belongs to the configuration."""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from recbole_nif.errors import UserError
from recbole_nif.run_folder import write_json


class CommandParser(argparse.ArgumentParser):
    """argparse whose mistakes are told in one sentence, and which leaves ``--help`` to the command.

    Args:
        command: its name, as in ``recbole-nif explain``.
    """

    def __init__(self, command: str):
        super().__init__(add_help=False, allow_abbrev=False)
        self.command = command
        self.add_argument("-h", "--help", action="store_true")

    def error(self, message: str):
        """Raises UserError: ``message``, and where the options are shown."""
        raise UserError(f"{self.command}: {message}; recbole-nif {self.command} --help shows its options.")


def check_out(out: Path | None) -> None:
    """Refuses a file for ``--out`` that could not be written after all the work.

    Raises:
        UserError: it is a folder, or lies in none.
    """
    if out and os.path.isdir(out):  # which takes names of any length
        raise UserError(f"--out {out} is a folder: name a file in it.")
    if out and not os.path.isdir(out.absolute().parent):
        raise UserError(f"The folder of --out {out} does not exist: create it.")


def write_out(out: Path | None, values: Mapping) -> None:
    """Writes ``values`` as JSON where ``--out`` names a file.

    Raises:
        UserError: it cannot be written.
    """
    try:
        if out:
            write_json(out, values)
    except OSError as error:
        raise UserError(f"Cannot write --out {out} ({error.strerror}): name another file.") from None
