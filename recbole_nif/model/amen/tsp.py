"""Temporal Sequential Pairwise: pairs of rows from different times (reconstruction of arXiv 2411.11502).

The two rows of a pair have one user, opposite labels and different timestamps, so the moveline has moved
between them. The partner is another row of the batch, or a row added behind it (``tsp_partner``).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_nif.data.fields import (
    MOVELINE_CUT,
    MOVELINE_ROW,
    MOVELINE_START,
    PAIR_OF,
    ROW_GAP,
    TIE_BEGIN,
    TIE_END,
)
from recbole_nif.model.amen.moveline import Windows, visible_prefix
from recbole_nif.model.amen.state import AMENState, Target
from recbole_nif.model.layers.target_attention import positions_of

SHIFT_WEIGHT = {"shift": 1.0, "both": 0.5}  # of the form shift in the modes that have it


class Pairs(NamedTuple):
    """The pairs of a batch, as places in it."""

    later: Tensor  # [P] int64, the row e; of one timestamp either
    earlier: Tensor  # [P] int64, the row f
    counted: Tensor | None  # [P] bool, which of them are pairs; None = all

    @classmethod
    def of(cls, batch) -> "Pairs":
        """On an accelerator, which would have to wait for their number, all rows are listed."""
        one, counted = positions_of(batch[PAIR_OF] >= 0)
        other = batch[PAIR_OF][one].clamp_min(0)
        one_later = batch[TIE_BEGIN][one] > batch[TIE_BEGIN][other]
        return cls(torch.where(one_later, one, other), torch.where(one_later, other, one), counted)


def at_the_earlier_time(
    state: AMENState, target: Target, context: Tensor, pairs: Pairs
) -> tuple[AMENState, Target, Tensor]:
    """The later items and their contexts beside the pasts of the earlier rows.

    A later row's own past holds the earlier row's label, the opposite of its own by selection: with it a loss
    could be lowered by reading labels.
    """
    return (
        state.select(pairs.earlier), target.select(pairs.later), context.index_select(0, pairs.later)
    )  # fmt: skip


def pair_loss(first: Tensor, second: Tensor, clicked: Tensor, counted: Tensor | None = None) -> Tensor:
    """Mean softplus(-s (first - second)), s = 1 where the later row e is clicked, else -1; log 2 if equal.

    Args:
        first, second: [P] scores. In the form logit of e and of f, both of the past at the time of f; in the
            form shift of e with the moveline at its own time and at that of f.
        clicked: [P] label of e, the opposite of that of f.
        counted: [P] bool, as of ``Pairs``.
    """
    losses = F.softplus(-(2 * clicked - 1) * (first.float() - second.float()))
    if counted is None:
        return losses.sum() / max(1, len(losses))
    return (losses * counted).sum() / counted.sum().clamp_min(1)


def shift_loss(model, batch, state: AMENState, target: Target, pairs: Pairs, clicked: Tensor) -> Tensor:
    """AMEN's later items with their own snapshot, less what selection tells, against the earlier snapshot."""
    later, earlier, counted = pairs
    windows = Windows.of(batch).select(batch[MOVELINE_ROW][later])
    hidden, between = events_since(batch, later, earlier, windows.item.shape[1])
    visible = visible_prefix(batch[MOVELINE_CUT][later], hidden.shape[1]) & ~hidden
    window = torch.arange(len(later), device=later.device)
    now = model.snapshot(windows.without(hidden).unlabeled(between), window, visible, batch[ROW_GAP][later])
    target = target.select(later)
    return pair_loss(
        model.moveline_scores(model.read(target, now)),
        model.moveline_scores(model.read(target, state.moveline.select(earlier))),
        clicked,
        counted,
    )


def events_since(batch, rows: Tensor, others: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Where in the windows of ``rows`` [P] the events at the time of ``others`` [P] lie, and later ones.

    The later row's past always holds the earlier row, whose label is the opposite by selection, and as
    partners are near, rows between them rather have the later row's own: unless the first are hidden and the
    labels of the others unknown, the loss can be lowered by reading labels.

    Returns:
        two masks [P, length] bool.
    """
    start = batch[MOVELINE_START][batch[MOVELINE_ROW][rows]]
    position = start.unsqueeze(1) + torch.arange(length, device=start.device)  # [P, length], in the log
    begin, end = batch[TIE_BEGIN][others].unsqueeze(1), batch[TIE_END][others].unsqueeze(1)
    return (position >= begin) & (position < end), position >= end
