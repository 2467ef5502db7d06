"""The parser of a command's own options; what it does not know belongs to the configuration."""

import argparse

from recbole_nif.errors import UserError


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
