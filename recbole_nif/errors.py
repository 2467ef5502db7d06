"""The exceptions for mistakes that a user can correct."""


class UserError(Exception):
    """A user's mistake, told in one sentence that names the file, key or field and the remedy.

    The command line prints the sentence without a traceback and exits with code 2. Code that is
    used as a library lets it pass, so that a pipeline can catch it.
    """


class Diverged(UserError, RuntimeError):
    """A model whose loss or predictions are no finite numbers any more."""
