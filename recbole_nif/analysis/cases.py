"""The row that is explained: a user and an item of the data, by their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from recbole.data.interaction import Interaction

from recbole_nif.data.fields import ROW_ID
from recbole_nif.errors import UserError

SPLITS = ("training", "validation", "test")


@dataclass(frozen=True)
class Case:
    """One candidate.

    Attributes:
        user, item: internal ids.
        row: the row that says what is seen of the past.
        split: where the row lies; None: the item was never shown to the user, and ``row`` is the user's last.
        batch: what a model reads, one row.
    """

    user: int
    item: int
    row: int
    split: str | None
    batch: Interaction


def find_case(views: Sequence, user: str, item: str) -> Case:
    """The user's last row of the item, of the test split if there is one, else of validation or training.

    An item that the user was never shown is a candidate at the time of the user's last event.

    Args:
        views: training, validation and test view.
        user, item: tokens, as in the data's files.

    Raises:
        UserError: no such user or item, or a user without rows.
    """
    train = views[0]
    user_id = _id_of(train, train.uid_field, "--user", user)
    item_id = _id_of(train, train.iid_field, "--item", item)
    position = train.event_log.position
    for view, split in reversed(list(zip(views, SPLITS, strict=True))):
        columns = view.inter_feat
        ids = columns[ROW_ID][(columns[train.uid_field] == user_id) & (columns[train.iid_field] == item_id)]
        if len(ids):
            row = int(ids[position[ids].argmax()])
            return Case(user_id, item_id, row, split, view.read(torch.tensor([row])))
    ids = torch.nonzero(train.all_rows[train.uid_field] == user_id).squeeze(1)
    if not len(ids):
        raise UserError(f"--user {user} has no rows in {train.dataset_name}: name another user.")
    row = int(ids[position[ids].argmax()])
    return Case(user_id, item_id, row, None, _with_item(train, train.read(torch.tensor([row])), item_id))


def _id_of(dataset, field: str, option: str, token: str) -> int:
    number = dataset.field2token_id[field].get(token, 0)
    if not number:
        some = dataset.field2id_token[field][1]
        raise UserError(
            f"{option} {token!r} is not in column {field} of {dataset.dataset_name}: give a token of the "
            f"data's files, such as {some!r}."
        )
    return int(number)


def _with_item(dataset, batch: Interaction, item: int) -> Interaction:
    """The batch with another item and its features."""
    columns = dataset.get_item_feature()[torch.tensor([item])]
    return Interaction(
        {name: batch[name] for name in batch.columns} | {k: columns[k] for k in columns.columns}
    )
