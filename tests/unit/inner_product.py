"""A model as a user writes one: the README's."""

import torch

from recbole_nif.model.base import CTRModel, UserState


class InnerProduct(CTRModel):
    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.project = torch.nn.Linear(self.user_dim, self.item_dim)

    def encode_user(self, batch):
        return UserState(user=self.project(self.embed_user(batch)))

    def score(self, state, candidates, rows=None):
        items = self.embed_items(candidates[self.item_field])
        return (state.select(rows).user * items).sum(-1)
