"""Small event logs for tests."""

import numpy as np

from recbole_nif.data.event_log import EventLog, EventTable


def make_table(user, item, timestamp, label, scene=None, item_rank=None) -> EventTable:
    """A table of labelled rows; row ids follow the given order."""
    user, item, label = np.asarray(user), np.asarray(item), np.asarray(label)
    size = len(user)
    return EventTable(
        user=user,
        item=item,
        timestamp=np.asarray(timestamp),
        label=label,
        rating=label * 4.0 + 1,
        scene=np.ones(size, dtype=int) if scene is None else np.asarray(scene),
        behavior=label + 1,
        row_id=np.arange(size),
        item_rank=np.arange(item.max() + 1) if item_rank is None else np.asarray(item_rank),
    )


def make_log(user, item, timestamp, label, strict=True, **columns) -> EventLog:
    table = make_table(user, item, timestamp, label, **columns)
    return EventLog.build(table, n_users=int(max(user)) + 1, strict=strict)
