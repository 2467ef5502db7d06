"""The user of a request: who it is, what is known of it, and which events it has."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from recbole_nif.errors import UserError
from recbole_nif.inference.columns import PADDING, as_tokens
from recbole_nif.inference.events import Events
from recbole_nif.inference.serving_data import ServingData
from recbole_nif.inference.user_log import UserLog


@dataclass(frozen=True)
class Viewer:
    """One user.

    Attributes:
        id: for the model; ``PADDING`` where it knows no such user.
        events: in the order of the log.
        features: that were given with the request, [1, ...].
        key: what tells this user with these events and features from all others, before and after updates.
    """

    id: int
    events: Events
    features: dict[str, Tensor]
    key: tuple[Hashable, ...]

    def columns(self, data: ServingData) -> dict[str, Tensor]:
        """All features of the user, [1, ...]."""
        return data.user_columns(np.array([self.id])) | self.features


def viewer_of(data: ServingData, log: UserLog, user, history, user_features: Mapping | None) -> Viewer:
    """The user with token ``user`` (None: without one), with the events of ``history`` if it is given.

    Raises:
        UserError: a wrong event, or a feature that users do not have.
    """
    (token,) = as_tokens([user])
    known = int(data.columns.ids(data.user_field, [token])[0])
    features = _features(data, user_features or {})
    if history is None:
        number = known or log.stranger(token)
        events, source = log.of(number), (number, log.version(number))
    else:
        events = data.rule.read(history, data.columns, known, log.item_rank)
        source = (events.digest(),)
    told = tuple((name, column.numpy().tobytes()) for name, column in features.items())
    return Viewer(known or PADDING, events, features, (known, *source, told))


def _features(data: ServingData, values: Mapping) -> dict[str, Tensor]:
    for name in values:
        if name not in data.users or name == data.user_field:
            known = [column for column in data.users if column != data.user_field]
            raise UserError(
                f"user_features names {name!r}, which is no feature of users: they are "
                f"{', '.join(known) or 'none'}."
            )
    return {name: data.columns.encode(name, [values[name]], data.users[name]) for name in sorted(values)}
