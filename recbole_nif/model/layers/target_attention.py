"""DIN's local activation unit: how much each past item says about one target."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recbole_nif.model.layers.embedding import QUIET, pick
from recbole_nif.model.layers.mlp import MLP, apply_layer, make_activation
from recbole_nif.tracing import exporting, may_wait

IN_CACHE = 2048  # positions whose hidden units stay in a core's cache: half the time of scoring


class TargetAttention(nn.Module):
    """Sum of the history, weighted by an MLP of target and item (DIN, KDD 2018, section 4.3).

        a_j = MLP([q ; k_j ; q - k_j ; q * k_j]) ,   v = sum_j a_j k_j

    The first layer is linear in its input, so the [B, L, 4D] input is never built: the columns for q - k
    fold into those for q, computed once per row, and those for k.

    Args:
        dim: width D of target and history vectors.
        hidden_sizes: widths of the activation unit, at least one.
        activation: its activation; with "dice", padding does not enter the batch statistics.
        softmax: normalize the scores, divided by sqrt(D), over the history, as the authors' code does; the
            paper keeps the raw scores, so that their sum tells how strong the interest is.
    """

    def __init__(
        self,
        dim: int,
        hidden_sizes: Sequence[int] = (80, 40),
        *,
        activation: str = "sigmoid",
        softmax: bool = False,
    ):
        super().__init__()
        first, *rest = hidden_sizes
        self.dim = dim
        self.softmax = softmax
        self.first = nn.Linear(3 * dim, first)  # columns: target, history, product
        self.activation = make_activation(activation, first)
        self.of_batch = activation == "dice"  # it has statistics of the whole batch
        self.rest = MLP(first, rest, activation=activation, output_size=1)

    def start_quietly(self) -> None:
        """The scores are small at first, and so is their sum over the history."""
        nn.init.xavier_normal_(self.rest.layers[-1].weight, gain=QUIET)

    def forward(self, target: Tensor, history: Tensor, mask: Tensor, rows: Tensor | None = None) -> Tensor:
        """``target`` [B, D], ``history`` [B, L, D], ``mask`` [B, L], True = item -> [B, D]; empty: 0.

        With ``rows`` [B] there are S histories, [S, L, D] and [S, L], and target b reads that of ``rows[b]``.
        """
        weights = self.weights(target, history, mask, rows)
        if _one_history(history, rows):
            return weights @ history[0]
        own = history if rows is None else history.index_select(0, rows)
        return torch.bmm(weights.unsqueeze(1), own).squeeze(1)

    def weights(self, target: Tensor, history: Tensor, mask: Tensor, rows: Tensor | None = None) -> Tensor:
        """The weights [B, L] of the sum, 0 in padding; shapes as in ``forward``."""
        scores, mask = self.scores(target, history, mask, rows), _of_rows(mask, rows)
        return masked_softmax(scores / self.dim**0.5, mask) if self.softmax else scores * mask

    def scores(self, target: Tensor, history: Tensor, mask: Tensor, rows: Tensor | None = None) -> Tensor:
        """The unit's output a_j [B, L]; shapes as in ``forward``. Arbitrary where ``mask`` is False."""
        if _one_history(history, rows) and not self.training:
            return self._scores_of_one(target, history[0])
        length, mask = history.shape[1], _of_rows(mask, rows)
        positions, counted = positions_of(mask)
        row = positions // length  # [P], of each position
        place = positions if rows is None else positions + (rows[row] - row) * length  # in all histories
        for_target, for_history, for_product = self.first.weight.t().split(self.dim)  # [D, H] each
        offset = torch.addmm(self.first.bias, target, for_target)  # [B, H]
        for_history, for_product = for_history.to(offset.dtype), for_product.to(offset.dtype)
        events = history.flatten(0, 1)
        keys = pick(events, place) if rows is None else events.index_select(0, place)  # [P, D]

        def unit(keys: Tensor, row: Tensor, counted: Tensor | None) -> Tensor:
            products = keys * target.index_select(0, row)
            hidden = offset.index_select(0, row)  # [P, H]; what follows adds to it in place
            hidden = hidden.addmm_(keys.to(hidden.dtype), for_history)
            hidden = hidden.addmm_(products.to(hidden.dtype), for_product)
            hidden = apply_layer(self.activation, hidden, counted)
            return self.rest(hidden, counted).squeeze(-1)

        if may_wait(mask) and not (self.training and self.of_batch):
            parts = zip(keys.split(IN_CACHE), row.split(IN_CACHE), strict=True)
            scores = torch.cat([unit(*part, None) for part in parts])
        else:
            scores = unit(keys, row, counted)
        return scores.new_zeros(mask.numel()).index_copy(0, positions, scores).view(mask.shape)

    def _scores_of_one(self, target: Tensor, history: Tensor) -> Tensor:
        """``scores`` of one ``history`` [L, D], [B, L]: a weight for every item, and no row is gathered.

        W_p (q * k_j) = (W_p diag(k_j)) q, and what the items themselves say is the same for all targets.
        """
        for_target, for_history, for_product = self.first.weight.t().split(self.dim)  # [D, H] each
        offset = torch.addmm(self.first.bias, target, for_target).unsqueeze(1)  # [B, 1, H]
        of_item = (history @ for_history).flatten()  # [LH]
        weight = torch.einsum("ld,dh->dlh", history, for_product).flatten(1)  # [D, LH]
        shape = (-1, len(history), for_target.shape[1])
        scores = []
        for part, said in zip(
            *(x.split(max(1, IN_CACHE // len(history))) for x in (target, offset)), strict=True
        ):
            hidden = torch.addmm(of_item, part, weight).view(shape).add_(said)
            scores.append(self.rest(self.activation(hidden)).squeeze(-1))
        return torch.cat(scores)


def _one_history(history: Tensor, rows: Tensor | None) -> bool:
    """Whether all targets read the same history; a graph leaves it open."""
    return rows is not None and not exporting() and len(history) == 1


def _of_rows(mask: Tensor, rows: Tensor | None) -> Tensor:
    return mask if rows is None else mask.index_select(0, rows)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax of ``scores`` [B, L] over the positions where ``mask`` [B, L] holds, 0 elsewhere."""
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(dim=-1) * mask


def positions_of(mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """The positions of the flattened ``mask`` [B, L] to compute, and which of them count (None = all).

    On a CPU only the items, where padding would cost as much as they do; elsewhere all positions, since
    finding out how many items there are would stall the device.
    """
    flat = mask.reshape(-1)
    if may_wait(mask):
        return flat.nonzero().squeeze(1), None
    return torch.arange(flat.shape[0], device=mask.device), flat
