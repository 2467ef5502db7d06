"""What the models share that read a user's click history item by item."""

from torch import Tensor, nn

from recbole_nif.data.fields import SCENE
from recbole_nif.model.base import CTRModel
from recbole_nif.model.layers.embedding import SetEmbedding, lookup

N_LABELS = 3  # values of the label history: padding, 0 and 1


class ClickHistoryModel(CTRModel):
    """A CTR model whose batches bring the item history of each row, in the order of time.

    What a history item is beyond its features is our reconstruction: with ``history: all_with_label`` a
    learned vector of its label is added, with ``history_scene: True`` one of its scene set: k_j = e_j + l_j
    + s_j. The target has no label, and its scene is among the features of the item or of the impression.
    """

    needs_clicks = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        suffix = config["LIST_SUFFIX"]
        self.history_field = config["ITEM_ID_FIELD"] + suffix
        self.history_label_field = config["LABEL_FIELD"] + suffix
        self.history_scene_field = SCENE + suffix
        self.label = self.scene = None
        if config["history"] == "all_with_label":
            self.label = nn.Embedding(N_LABELS, self.item_dim)
        if config["history_scene"]:
            scenes = dataset.scenes
            self.scene = SetEmbedding(
                members=scenes.members, n_elements=scenes.n_scenes, embedding_size=self.item_dim
            )

    def history_items(self, batch) -> tuple[Tensor, Tensor]:
        """e_j [B, L, item_dim] and the mask [B, L] bool, True where there is an item."""
        ids = batch[self.history_field]  # [B, L]
        return self.embed_items(ids), ids != 0

    def history_events(self, batch, items: Tensor) -> Tensor:
        """k_j [B, L, item_dim]: what happened with the ``items`` of :meth:`history_items`."""
        if self.label is not None:
            items = items + lookup(self.label.weight, batch[self.history_label_field])
        if self.scene is not None:
            items = items + self.scene(batch[self.history_scene_field])
        return items
