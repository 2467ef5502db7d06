"""Embeddings of RecBole's feature fields: users, items and contexts, one table per field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recbole_nif.tracing import exporting


@dataclass(frozen=True)
class Field:
    """One feature column: its name, how it is read, and the rows its table needs (``dataset.num``)."""

    name: str
    kind: Literal["token", "token_seq", "float", "float_seq"]
    size: int


def masked_mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``vectors`` [..., S, d] over the positions where ``mask`` [..., S] holds, else zero."""
    weight = mask.to(vectors.dtype).unsqueeze(-1)  # [..., S, 1]
    return (vectors * weight).sum(dim=-2) / weight.sum(dim=-2).clamp(min=1)


def lookup(table: Tensor, ids: Tensor) -> Tensor:
    """Rows ``ids`` [...] of ``table`` [n, d] -> [..., d]. Its backward is faster than ``F.embedding``'s."""
    return table.index_select(0, ids.reshape(-1)).view(*ids.shape, table.shape[1])


class _Pick(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, places):
        ctx.save_for_backward(places)
        ctx.shape = x.shape
        return x.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (places,) = ctx.saved_tensors
        return grad.new_zeros(ctx.shape).index_copy_(0, places, grad), None


def pick(x: Tensor, places: Tensor) -> Tensor:
    """Rows ``places`` [P] of ``x`` [N, ...] -> [P, ...], all different: the gradient is a copy, not a sum."""
    return _Pick.apply(x, places)


def add_rows(table: nn.Embedding, rows: Tensor) -> None:
    """Appends ``rows`` [m, d] to a trained table, in place."""
    weight = torch.cat([table.weight.detach(), rows.to(table.weight)])
    table.weight = nn.Parameter(weight, requires_grad=table.weight.requires_grad)
    table.num_embeddings = len(weight)


def add_zeros(table: nn.Embedding, count: int) -> None:
    """Appends ``count`` zero rows to a trained table, in place."""
    add_rows(table, table.weight.new_zeros(count, table.embedding_dim))


QUIET = 0.1  # gain of weights that start small (reconstruction; neither DIN's nor DCN's paper has it)


def initialize(module: nn.Module) -> None:
    """Xavier-normal weights as in RecBole's models, zero biases, zero padding rows; for ``Module.apply``.

    A module with ``start_quietly`` then says little at first: sums over a history and products of features
    are large otherwise, and with some seeds a first epoch goes into making them small.
    """
    if isinstance(module, nn.Embedding):
        nn.init.xavier_normal_(module.weight)
        if module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())
    elif isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif hasattr(module, "start_quietly"):
        module.start_quietly()


class FieldEmbedding(nn.Module):
    """Embeds the columns of some fields and concatenates them, in the order of ``fields``.

    Tokens look up a row, token sequences the mean of their rows without padding. Float fields come as
    RecBole stores ``numerical_features``: pairs (value, bucket), embedded as value * row of the bucket.
    Token 0 is padding or missing and stays zero.
    """

    def __init__(self, *, fields: Sequence[Field], embedding_size: int):
        super().__init__()
        self.fields = tuple(fields)
        self.dim = len(self.fields) * embedding_size
        # Bucket 0 of a float field is a value like any other; everywhere else 0 is padding.
        self.tables = nn.ModuleList(
            nn.Embedding(field.size, embedding_size, padding_idx=None if field.kind == "float" else 0)
            for field in self.fields
        )

    def forward(self, columns: Mapping[str, Tensor]) -> Tensor:
        """``columns[name]``: [...] for tokens, [..., S] for sequences, + [2] for floats -> [..., dim]."""
        pairs = zip(self.fields, self.tables, strict=True)
        return torch.cat([self._embed(field, table, columns[field.name]) for field, table in pairs], dim=-1)

    @staticmethod
    def _embed(field: Field, table: nn.Embedding, column: Tensor) -> Tensor:
        if field.kind == "token":
            return table(column)
        if field.kind == "token_seq":
            return masked_mean(table(column), column != 0)
        value, bucket = column[..., :1], column[..., 1].long()
        vectors = value * table(bucket)
        return vectors if field.kind == "float" else masked_mean(vectors, bucket != 0)


class FeatureEmbedding(nn.Module):
    """All features of a CTR model: those of the user, of the item and of the context.

    Args:
        user_fields, item_fields, context_fields: the fields of each group; ``context_fields`` may be empty.
        item_columns: feature columns of the whole catalogue, row = item id, row 0 = padding. They are not
            saved with the weights: they are data.
        embedding_size: width of one field's embedding.
    """

    def __init__(
        self,
        *,
        user_fields: Sequence[Field],
        item_fields: Sequence[Field],
        context_fields: Sequence[Field],
        item_columns: Mapping[str, Tensor],
        embedding_size: int,
    ):
        super().__init__()
        self.user = FieldEmbedding(fields=user_fields, embedding_size=embedding_size)
        self.item = FieldEmbedding(fields=item_fields, embedding_size=embedding_size)
        self.context = FieldEmbedding(fields=context_fields, embedding_size=embedding_size)
        self.n_items = len(item_columns[item_fields[0].name])
        self.register_buffer("item_ids", torch.arange(self.n_items), persistent=False)
        for position, field in enumerate(item_fields):
            self.register_buffer(f"item_column_{position}", item_columns[field.name], persistent=False)

    def add_items(self, columns: Mapping[str, Tensor]) -> None:
        """Makes further items known, with the next ids, by their feature ``columns``, name -> [m, ...]."""
        for position, field in enumerate(self.item.fields):
            own = f"item_column_{position}"
            setattr(self, own, torch.cat([getattr(self, own), columns[field.name]]))
        self.n_items = len(self.item_column_0)
        self.item_ids = torch.arange(self.n_items, device=self.item_ids.device)

    def items(self, ids: Tensor) -> Tensor:
        """Item id and side features of ``ids`` [...] -> [..., item.dim]; zeros for the padding item 0.

        Where ``ids`` asks for more rows than the catalogue has (a batch of histories), every item is
        embedded once and the result gathered: the side features are then read n_items times, not B * L.
        """
        # an exported graph leaves open how many ids there are
        whole_catalogue = not exporting() and self.n_items <= ids.numel()
        rows = self.item_ids if whole_catalogue else ids
        columns = {
            field.name: getattr(self, f"item_column_{position}")[rows]
            for position, field in enumerate(self.item.fields)
        }
        vectors = self.item(columns) * (rows != 0).unsqueeze(-1)  # [n_items or ..., item.dim]
        return lookup(vectors, ids) if whole_catalogue else vectors


class SetEmbedding(nn.Module):
    """Embeds a set of elements, such as the scenes of one event, as the mean of its members.

    Args:
        members: [n_sets, S] int64, the elements of each set, 0-padded; set 0 is padding (all zeros).
        n_elements: number of elements, padding included.
        embedding_size: width of the result.
    """

    def __init__(self, *, members: Tensor, n_elements: int, embedding_size: int):
        super().__init__()
        self.table = nn.Embedding(n_elements, embedding_size, padding_idx=0)
        self.register_buffer("members", members, persistent=False)

    def forward(self, sets: Tensor) -> Tensor:
        """``sets`` [...] -> [..., embedding_size]; zeros for set 0."""
        if not exporting() and not torch.is_grad_enabled() and sets.numel() < len(self.members):
            members = self.members[sets]  # [..., S]: a few sets of many
            return masked_mean(self.table(members), members != 0)
        vectors = masked_mean(self.table(self.members), self.members != 0)  # [n_sets, embedding_size]
        return lookup(vectors, sets)


class CodedEmbedding(nn.Module):
    """e_i + sum_n E_n[c_n]: an embedding of the item's own and those of its semantic codes.

    An item that was never trained thus has what it shares with others.

    Args:
        tokens: [n_items, N] int64, the codes of every item as tokens that differ between levels; 0 = none.
        n_tokens: number of tokens, 0 included.
        embedding_size: width of the result.
    """

    def __init__(self, *, tokens: Tensor, n_tokens: int, embedding_size: int):
        super().__init__()
        self.own = nn.Embedding(len(tokens), embedding_size, padding_idx=0)
        self.code = nn.Embedding(n_tokens, embedding_size, padding_idx=0)
        self.register_buffer("tokens", tokens, persistent=False)

    def add_items(self, tokens: Tensor) -> None:
        """Makes further items known by their codes ``tokens`` [m, N] alone; theirs are the next ids."""
        self.tokens = torch.cat([self.tokens, tokens])
        add_zeros(self.own, len(tokens))

    def forward(self, items: Tensor) -> Tensor:
        """``items`` [...] -> [..., embedding_size]; zeros for item 0."""
        return self.own(items) + self.code(self.tokens[items]).sum(-2)
