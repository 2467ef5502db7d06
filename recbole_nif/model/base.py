"""The parent of our CTR models: feature fields, the split into user and candidate, loss and prediction."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import FeatureSource, FeatureType, InputType, ModelType
from torch import Tensor, nn

from recbole_nif.data.fields import ADDED, not_features
from recbole_nif.errors import UserError
from recbole_nif.model.explanation import Explanation
from recbole_nif.model.item_rows import ItemRows
from recbole_nif.model.layers.embedding import FeatureEmbedding, Field

KINDS = {
    FeatureType.TOKEN: "token",
    FeatureType.TOKEN_SEQ: "token_seq",
    FeatureType.FLOAT: "float",
    FeatureType.FLOAT_SEQ: "float_seq",
}


@dataclass(frozen=True)
class UserState:
    """What is known of a user before any candidate is seen; the first dimension of every tensor is the state.

    A model subclasses it with its own tensors (None where it has none).
    """

    user: Tensor  # [S, user_dim]

    def select(self, rows: Tensor | None) -> "UserState":
        """The state of each candidate: ``rows`` [N] int64 names it; None means candidate i has state i."""
        if rows is None:
            return self
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: t.index_select(0, rows) for name, t in tensors.items() if t is not None}
        )


class CTRModel(AbstractRecommender):
    """A model of the probability of a click, written as ``score(encode_user(batch), batch)``.

    Everything that does not depend on the candidate belongs in ``encode_user``, so that one user can be
    encoded once and scored against many candidates. The class attributes say what the loader must add to
    a batch and which training stages the model has. A batch is a RecBole ``Interaction``.
    """

    type = ModelType.CONTEXT
    input_type = InputType.POINTWISE
    needs_clicks = False
    needs_moveline = False
    needs_pairs = False
    needs_semantic_ids: bool | dict = False  # or the values of keys with which it does
    has_pictures = False  # whether ``explain`` gives a flow or vectors, which are drawn for many rows
    stages = ("finetune",)

    def __init__(self, config, dataset):
        super().__init__()
        self.item_field = config["ITEM_ID_FIELD"]
        self.label_field = config["LABEL_FIELD"]
        self.features = FeatureEmbedding(
            user_fields=feature_fields(config, dataset, [FeatureSource.USER_ID, FeatureSource.USER]),
            item_fields=feature_fields(config, dataset, [FeatureSource.ITEM_ID, FeatureSource.ITEM]),
            context_fields=feature_fields(config, dataset, [FeatureSource.INTERACTION]),
            item_columns=dataset.get_item_feature(),
            embedding_size=config["embedding_size"],
        )
        self.user_dim = self.features.user.dim
        self.item_dim = self.features.item.dim
        self.context_dim = self.features.context.dim

    def embed_user(self, batch) -> Tensor:
        """User id and user features -> [B, user_dim]."""
        return self.features.user(batch)

    def embed_context(self, batch) -> Tensor:
        """Features of the impression itself (not label, rating or time) -> [B, context_dim]."""
        if self.context_dim:
            return self.features.context(batch)
        ids = batch[self.item_field]
        return torch.zeros(ids.shape[0], 0, device=ids.device)

    def embed_items(self, ids: Tensor) -> Tensor:
        """Item id and item features, for target and history: [...] -> [..., item_dim], zeros for id 0."""
        return self.features.items(ids)

    def encode_user(self, batch) -> UserState:
        """Everything about the users of ``batch`` that no candidate can change."""
        raise NotImplementedError

    def score(self, state: UserState, candidates, rows: Tensor | None = None) -> Tensor:
        """Logits [N] of ``candidates`` (item ids, context fields); ``rows`` [N] names the state of each."""
        raise NotImplementedError

    def forward(self, batch) -> Tensor:
        """Logits [B]."""
        return self.score(self.encode_user(batch), batch)

    def predict(self, batch) -> Tensor:
        """Probabilities [B] in float32, also for B = 1."""
        return self.forward(batch).float().sigmoid()

    def explain(self, batch) -> Explanation:
        """What moved the scores of ``batch``, as far as the model can tell; by default nothing."""
        return Explanation()

    def add_items(self, rows: ItemRows) -> None:
        """Makes items known that came after training, by their features; called on a trained model only.

        A model with tables by item of its own overrides it and lets them grow as well.
        """
        self.features.add_items(rows.columns)

    def candidate_scores(self, batch) -> Tensor | None:
        """How near each item is to what the model generates for a row, [B, n_items], larger is nearer.

        -inf for an item that is no candidate of the row; None: the model generates nothing.
        """
        return None

    def click_loss(self, logits: Tensor, batch) -> Tensor:
        """Mean binary cross-entropy over the samples of ``batch``; rows added as partners do not count."""
        labels = batch[self.label_field].float()
        weight = (~batch[ADDED]).float() if ADDED in batch else torch.ones_like(labels)
        losses = F.binary_cross_entropy_with_logits(logits.float(), labels, weight, reduction="sum")
        return losses / weight.sum()

    def loss_terms(self, batch) -> dict[str, Tensor]:
        """The named scalar parts of the loss, already weighted, "bce" first."""
        return {"bce": self.click_loss(self.forward(batch), batch)}

    def calculate_loss(self, batch) -> Tensor:
        """The sum of ``loss_terms``, the scalar that RecBole's trainer expects."""
        return sum(self.loss_terms(batch).values())

    def param_groups(self, learning_rate: float, weight_decay: float) -> list[dict]:
        """Optimizer groups; by default one, of all trainable parameters."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [{"params": trainable, "lr": learning_rate, "weight_decay": weight_decay}]


def feature_fields(config, dataset, sources: Iterable[FeatureSource]) -> list[Field]:
    """The fields of ``sources`` that are features, as in RecBole's ``ContextRecommender``.

    Float fields count only when listed in ``numerical_features``; ``not_features`` never do.
    """
    answers = not_features(config)
    numerical = config["numerical_features"] or ()
    selected = []
    for source in sources:
        for name in dataset.fields(source=[source]):
            kind = KINDS[dataset.field2type[name]]
            if name not in answers and (kind.startswith("token") or name in numerical):
                selected.append(Field(name, kind, dataset.num(name)))
    return selected


def generates_nothing(model: nn.Module) -> UserError:
    """What to say of a model without ``candidate_scores``."""
    return UserError(
        f"{type(model).__name__} generates no candidates: give a run of AMEN (with use_nif) or GenCI."
    )
