"""Temporal Sequential Pairwise: pairs of rows from different times (reconstruction of arXiv 2411.11502).

The two rows of a pair have one user, opposite labels and different timestamps, so the moveline has moved
between them. The partner is another row of the batch, or a row added behind it (``tsp_partner``).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_nif.data.fields import MOVELINE_ROW, MOVELINE_START, PAIR_OF, TIE_BEGIN, TIE_END


def logit_loss(logits: Tensor, labels: Tensor, pair_of: Tensor) -> Tensor:
    """Mean softplus(-(z_clicked - z_unclicked)) over the pairs of a batch; log 2 for equal logits.

    logits, labels: [B]; pair_of: [B] int64, the place of the row to compare with, -1 for none.
    """
    paired = (pair_of >= 0).float()
    lead = logits.float() - logits.float().index_select(0, pair_of.clamp_min(0))  # over the other
    losses = F.softplus(-(2 * labels - 1) * lead)
    return (paired * losses).sum() / paired.sum().clamp_min(1)


def shift_loss(now: Tensor, before: Tensor, clicked: Tensor) -> Tensor:
    """Mean softplus(-s (r(v_e, M(t_e)) - r(v_e, M(t_f)))), s = 1 if the later row e is clicked, else -1.

    now, before: moveline scores r of the later rows' items with both snapshots [P]; clicked: labels [P].
    """
    shift = now.float() - before.float()
    return F.softplus(-(2 * clicked - 1) * shift).sum() / max(1, len(shift))


def ordered_pairs(batch) -> tuple[Tensor, Tensor]:
    """The later row e and the earlier row f of every pair, as places in the batch [P] each.

    The number of pairs is data: on an accelerator this waits for it, in the shift modes only.
    """
    one = (batch[PAIR_OF] >= 0).nonzero().squeeze(1)
    other = batch[PAIR_OF][one]
    one_later = batch[TIE_BEGIN][one] > batch[TIE_BEGIN][other]
    return torch.where(one_later, one, other), torch.where(one_later, other, one)


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
