"""The events of all users, to which further ones can be appended, and logs of some of them for a request.

The log of the dataset stays as it is. Of a user who gets events, all are copied into a table of its own, so
that an update costs as much as that user's history and reading costs nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from recbole_nif.data.event_log import NO_LABEL, NO_ROW, EventLog, EventTable
from recbole_nif.errors import UserError
from recbole_nif.inference.columns import PADDING
from recbole_nif.inference.events import Events, in_order, joined


class UserLog:
    """Events by user.

    A user's number is the id that the model knows; a user that the data do not have gets a negative one with
    its first events, and 0 stands for users without any.

    Args:
        log: of the dataset. Of a log that is frozen at the end of training (``history_until: train``) only
            what is before counts.
        item_rank: [items], the order of items inside one time.
        items: ids of the items that its events have, ascending.
        complete: False where the events of the data's users are not there. What is known of such a user is
            then what was appended, and before that nobody is told an answer.
    """

    def __init__(self, log: EventLog, item_rank: np.ndarray, items: np.ndarray, *, complete: bool = True):
        self.strict, self.item_rank = log.strict, item_rank
        self._items, self._complete = set(items.tolist()), complete
        columns = (log.item, log.timestamp, log.label, log.rating, log.scene, log.behavior)
        self._events = Events(*(column.numpy() for column in columns))
        self._begin, self._end = log.offsets.numpy()[:-1], log.offsets.numpy()[1:]
        if log.frozen_end is not None:
            self._end = np.minimum(self._end, log.frozen_end.numpy())
        self._changed: dict[int, Events] = {}
        self._version: dict[int, int] = {}
        self._strangers: dict[str, int] = {}

    def stranger(self, token: str) -> int:
        """The number of a user that the data do not have; 0 before its first events."""
        return self._strangers.get(token, PADDING)

    def admit(self, token: str) -> int:
        """The number of such a user, given now if need be."""
        return self._strangers.setdefault(token, -1 - len(self._strangers))

    def version(self, user: int) -> int:
        """How often a user has got events."""
        return self._version.get(user, 0)

    def of(self, user: int) -> Events:
        """A user's events in the order of the log.

        Raises:
            UserError: they are not there.
        """
        self._check([user])
        return self._present(user)

    def _present(self, user: int) -> Events:
        if user in self._changed:
            return self._changed[user]
        if user <= PADDING:
            return joined([])
        return self._events.take(slice(self._begin[user], self._end[user]))

    def append(self, user: int, events: Events) -> None:
        """Adds events to a user who has a number.

        Raises:
            UserError: one of them is earlier than what the user has.
        """
        if not len(events):
            return
        present = self._present(user)
        if len(present) and events.timestamp[0] < present.timestamp[-1]:
            raise UserError(
                f"An event at {events.timestamp[0]:.17g} is earlier than the user's last one at "
                f"{present.timestamp[-1]:.17g}: events are appended in the order of time."
            )
        self._items.update(events.item.tolist())
        self._changed[user] = in_order(joined([present, events]), self.item_rank)
        self._version[user] = self.version(user) + 1

    def items(self) -> np.ndarray:
        """The items that any event has, ascending."""
        return np.array(sorted(self._items - {PADDING}), dtype=np.int64)

    def read(self, users: np.ndarray) -> EventLog:
        """A log in which user n is ``users[n]`` [U], with all of its events.

        Raises:
            UserError: those of a user are not there.
        """
        self._check(users.tolist())
        changed = np.isin(users, list(self._changed)) if self._changed else np.zeros(len(users), dtype=bool)
        known = np.where(changed | (users < 0), PADDING, users)
        begin = np.where(known == PADDING, 0, self._begin[known])
        length = np.where(known == PADDING, 0, self._end[known] - begin)
        places = np.repeat(begin - length.cumsum() + length, length) + np.arange(length.sum())
        own = [self._changed[user] for user in users[changed].tolist()]
        owner = np.concatenate([_owners(length), np.flatnonzero(changed)[_owners(_sizes(own))]])
        events = joined([self._events.take(places), *own])
        if own:
            order = np.argsort(owner, kind="stable")
            owner, events = owner[order], events.take(order)
        return log_of(owner, events, len(users), self.strict)

    def _check(self, users: Iterable[int]) -> None:
        if not self._complete and any(user > PADDING and user not in self._changed for user in users):
            raise UserError(
                "The export was made without its event log: give a user's history with the request, or "
                "append it first."
            )


def log_of(owner: np.ndarray, events: Events, n_users: int, strict: bool) -> EventLog:
    """A log of events in order, the n-th of user ``owner[n]``, ascending below ``n_users``."""
    if not len(events):  # no log is empty: what nobody sees stands in it
        owner, n_users = np.array([n_users]), n_users + 1
        events = Events(*(np.full(1, value) for value in (0, 0, NO_LABEL, 0.0, 0, 0)))
    sample = events.label != NO_LABEL
    table = EventTable(
        user=owner,
        **{name: getattr(events, name) for name in Events.__dataclass_fields__},
        row_id=np.where(sample, np.cumsum(sample) - 1, NO_ROW),
        item_rank=np.zeros(0),
    )
    return EventLog.of_sorted(table, n_users=n_users, strict=strict)


def given(histories: Sequence[Events], strict: bool) -> EventLog:
    """A log in which user n has the n-th of ``histories``."""
    return log_of(_owners(_sizes(histories)), joined(histories), len(histories), strict)


def _sizes(histories: Sequence[Events]) -> np.ndarray:
    return np.array([len(events) for events in histories], dtype=np.int64)


def _owners(sizes: np.ndarray) -> np.ndarray:
    """The number of the user of each event, where user n has ``sizes[n]`` of them."""
    return np.repeat(np.arange(len(sizes)), sizes)
