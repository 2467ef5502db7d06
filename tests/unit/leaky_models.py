"""Models that see what they must not, each in its own way, and one that does not; and rows for them."""

import random
from dataclasses import replace

import torch
from torch import nn

from recbole_nif.data.fields import ROW_ID
from recbole_nif.model.base import CTRModel

# 8 users of 30 rows; about every second row shares its time with the one before.
_rng = random.Random(0)
ROWS = [
    (
        f"u{user}",
        f"m{item}",
        _rng.choice([1, 2, 4, 5]),
        1000 + 60 * user + place - place % _rng.choice([1, 2]),
    )
    for user in range(8)
    for place, item in enumerate(_rng.sample(range(40), 30))
]


class Honest(CTRModel):
    """An item's bias plus the share of clicks among the row's last four visible events."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.view = dataset
        self.bias = nn.Embedding(dataset.item_num, 1)
        nn.init.normal_(self.bias.weight, std=0.01)

    @property
    def log(self):
        return self.view.event_log

    def forward(self, batch):
        positions, mask = self.log.window(batch[ROW_ID], length=4)
        clicks = ((self.log.label[positions] == 1) & mask).sum(1)
        return self.bias(batch[self.item_field]).squeeze(-1) + clicks / 4 + self.peek(batch)

    def peek(self, batch):
        return 0.0

    def position(self, batch):
        return self.log.position[batch[ROW_ID]].long()


class SeesItsLabel(Honest):
    def peek(self, batch):
        return batch[self.label_field]


class SeesItsRatingInTheLog(Honest):
    def peek(self, batch):
        return self.log.rating[self.position(batch)]


class SeesItsBehaviorInTheLog(Honest):
    def peek(self, batch):
        return self.log.behavior[self.position(batch)]


class SeesTheNextItem(Honest):
    def peek(self, batch):
        item = self.log.item
        return item[(self.position(batch) + 1).clamp(max=len(item) - 1)] / 10


class RemembersTheNextLabel(Honest):
    """Looks ahead once, when it is built, and keeps a table that no checkpoint holds."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        log = dataset.event_log
        table = log.label.roll(-1)[log.position.long()].float()
        self.register_buffer("table", table, persistent=False)

    def peek(self, batch):
        return self.table[batch[ROW_ID]]


class KeepsARateOfAllLabels(Honest):
    """The click rate of each item over all rows, in a table that checkpoints hold."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        log, size = dataset.event_log, dataset.item_num
        clicks = torch.zeros(size).index_add_(0, log.item.long(), log.label.float())
        self.register_buffer("rate", clicks / torch.bincount(log.item.long(), minlength=size).clamp(min=1))

    def peek(self, batch):
        return self.rate[batch[self.item_field]]


class CountsTheFuture(Honest):
    """How often an item comes in the whole log, in weights that are not trained."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        counts = torch.bincount(dataset.event_log.item.long(), minlength=dataset.item_num)
        self.count = nn.Embedding.from_pretrained(counts.float().unsqueeze(1), freeze=True)

    def peek(self, batch):
        return self.count(batch[self.item_field]).squeeze(-1) / 10


class SeesItsOwnSecond(Honest):
    @property
    def log(self):
        return replace(self.view.event_log, strict=False)


class ReadsOnline(Honest):
    """Its history goes on where the configuration freezes it."""

    @property
    def log(self):
        return replace(self.view.event_log, frozen_end=None)


class BlindToEverything(Honest):
    """Scores all rows alike."""

    def forward(self, batch):
        return torch.zeros(len(batch[ROW_ID]))
