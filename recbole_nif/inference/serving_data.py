"""All that scoring needs of a dataset, and no more: vocabularies, feature tables, rules, events, names.

It is made of a built dataset here; whoever stores its parts can make it of them, without any dataset.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_nif.analysis.names import Names
from recbole_nif.data.event_log import EventLog
from recbole_nif.data.fields import ROW_ID
from recbole_nif.data.history import HistoryReader
from recbole_nif.data.needs import Needs
from recbole_nif.data.query_log import QueryLog
from recbole_nif.inference.columns import Columns
from recbole_nif.inference.events import EventRule
from recbole_nif.inference.scene_rule import SceneRule
from recbole_nif.inference.user_log import UserLog
from recbole_nif.semantic_id.codes import SemanticIds


@dataclass
class ServingData:
    """The parts.

    Attributes:
        config: of the run.
        needs: which histories a batch brings.
        columns: the columns' vocabularies and types.
        users, items: features by id, name -> [users, ...] and [items, ...]; the ids are among them.
        context: columns of an impression itself, name -> empty tensor of its type and width.
        rule: what a row of events says.
        log: the events of all users.
        event_items: ids of the items that any event has, ascending.
        item_rank: [items], the order of items inside one time.
        item_clicks: [items], clicks in the training split.
        semantic_ids: the items' codes, where the model reads them.
        names: what items and scenes are called.
        has_events: False where the events of the data's users were left out of what was stored.
    """

    config: object
    needs: Needs
    columns: Columns
    users: dict[str, Tensor]
    items: dict[str, Tensor]
    context: dict[str, Tensor]
    rule: EventRule
    log: EventLog
    event_items: np.ndarray
    item_rank: np.ndarray
    item_clicks: Tensor
    semantic_ids: SemanticIds | None
    names: Names
    has_events: bool = True

    @classmethod
    def of_dataset(cls, config, dataset) -> ServingData:
        """The parts of a built ``CTRDataset``, any of its views."""
        users, items = dataset.get_user_feature(), dataset.get_item_feature()
        answers = {dataset.uid_field, dataset.iid_field, dataset.label_field, ROW_ID}
        timed = dataset.time_field in dataset.all_rows
        needs = dataset.needs
        return cls(
            config=config,
            needs=replace(needs, pairs=False),  # they are for training
            columns=Columns.of_dataset(dataset),
            users={name: users[name] for name in users.columns},
            items={name: items[name] for name in items.columns},
            context={
                name: dataset.all_rows[name][:0] for name in dataset.all_rows.columns if name not in answers
            },
            rule=EventRule.of(
                config, SceneRule.of_dataset(dataset).distinct(), timed=timed, moveline=dataset.moveline_names
            ),
            log=dataset.event_log,
            event_items=np.unique(dataset.event_log.item.numpy()),
            item_rank=dataset.token_rank(dataset.iid_field),
            item_clicks=dataset.train_item_count,
            semantic_ids=dataset.semantic_ids if needs.semantic_ids else None,
            names=Names.of_dataset(config, dataset),
        )

    @property
    def user_field(self) -> str:
        return self.config["USER_ID_FIELD"]

    @property
    def item_field(self) -> str:
        return self.config["ITEM_ID_FIELD"]

    @property
    def n_items(self) -> int:
        """Items with the padding item, added ones included."""
        return len(self.items[self.item_field])

    @property
    def item_scene(self) -> Tensor:
        """[items], the scene set of each item."""
        return torch.from_numpy(self.rule.scenes.item_scene)

    def user_log(self) -> UserLog:
        """The events, to which others can be appended."""
        return UserLog(self.log, self.item_rank, self.event_items, complete=self.has_events)

    def view(self, log: EventLog) -> View:
        """What reads the histories of ``log``."""
        return View(log, self)

    def user_columns(self, ids: np.ndarray) -> dict[str, Tensor]:
        """The features of users [S], name -> [S, ...]."""
        ids = torch.from_numpy(ids)
        return {name: column.index_select(0, ids) for name, column in self.users.items()}

    def item_columns(self, ids: Tensor) -> dict[str, Tensor]:
        """The features of items [N], name -> [N, ...]."""
        return {name: column.index_select(0, ids) for name, column in self.items.items()}


class View:
    """A log with what :class:`HistoryReader` and explanations ask of a dataset.

    Args:
        log: its users are numbered anew for each request.
        data: what the request is read with.
    """

    def __init__(self, log: EventLog, data: ServingData):
        self.event_log, self.config, self.needs = log, data.config, data.needs
        self.iid_field, self.label_field = data.item_field, data.rule.label
        last = data.rule.last_item
        self.item_num = data.n_items if last is None else last + 1  # items that histories may hold
        self.item_scene, self.train_item_count = data.item_scene, data.item_clicks
        self.history = HistoryReader(self)

    def ask(self, user: np.ndarray, at: np.ndarray | None) -> View:
        """The same, with queries as rows, which :meth:`read` takes; arguments as of ``QueryLog.of``."""
        asked = copy(self)
        asked.event_log, asked.history = QueryLog.of(self.event_log, user, at), copy(self.history)
        asked.history.log = asked.event_log
        return asked

    def read(self, columns: dict[str, Tensor]) -> Interaction:
        """The batch of all queries: their ``columns`` [S, ...] and histories."""
        batch = Interaction(columns)
        self.history.add(batch, torch.arange(len(self.event_log.time)))
        return batch
