"""What a request may ask for at most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class TooMuch(Exception):
    """A request is larger than the service allows; one sentence."""


@dataclass(frozen=True)
class Limits:
    """Sizes of one request, and how many requests may wait.

    Attributes:
        items: candidates.
        events: of a history, or to append.
        body: bytes.
        waiting: requests that are not yet being answered.
    """

    items: int = 10_000
    events: int = 10_000
    body: int = 8 << 20
    waiting: int = 1_000

    def check_items(self, name: str, values: Sequence | None) -> None:
        """Raises TooMuch where there are too many candidates."""
        _check(name, values, self.items)

    def check_events(self, name: str, values: Sequence | None) -> None:
        """Raises TooMuch where there are too many events."""
        _check(name, values, self.events)


def _check(name: str, values: Sequence | None, most: int) -> None:
    if values is not None and len(values) > most:
        raise TooMuch(f"{name} has {len(values):,} entries: give at most {most:,}.")
