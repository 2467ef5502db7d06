"""Small event logs for tests, and a slow reference of what a row may see."""

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


def slow_history(table: EventTable, row: int, strict: bool, clicks_only: bool, length: int) -> list[int]:
    """Row ids of the last ``length`` events before ``row``, oldest first, by sorting Python tuples."""

    def key(r):
        return (table.timestamp[r], table.item_rank[table.item[r]], r)

    mine = sorted((r for r in range(len(table.user)) if table.user[r] == table.user[row]), key=key)
    if strict:
        past = [r for r in mine if table.timestamp[r] < table.timestamp[row]]
    else:
        past = mine[: mine.index(row)]
    if clicks_only:
        past = [r for r in past if table.label[r] == 1]
    return past[-length:]
