"""Losses of stage 1: InfoNCE against sampled items, and the clicks a flow foretells (reconstruction)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_nif.model.layers.sphere import in_full_precision

CPU_BLOCK = 256  # rows of logits that stay in a core's cache
DEVICE_BLOCK = 8192
MASKED = -1e9  # a logit without weight; -inf would give NaN gradients where a flow has no hard negative


class _WeightedLogSumExp(torch.autograd.Function):
    """sum_i w_i log( exp(base_i) + sum_{m not blocked} exp(q_i . x_m + offset_m) ), block by block.

    The logits [N, M] are never stored: their gradient is known as soon as a block's are, so both products
    with it happen while the block is in cache. On a CPU that is 15 times faster than autograd's way.
    """

    @staticmethod
    def forward(ctx, base, queries, negatives, offset, blocked, group, weight):
        total = base.new_zeros(())
        d_base, d_queries = torch.empty_like(base), torch.empty_like(queries)
        d_negatives = torch.zeros_like(negatives)
        size = CPU_BLOCK if base.device.type == "cpu" else DEVICE_BLOCK
        for begin in range(0, len(base), size):
            rows = slice(begin, begin + size)
            logits = torch.addmm(offset, queries[rows], negatives.T)  # [block, M]
            logits.masked_fill_(blocked.index_select(0, group[rows]), -math.inf)
            top = torch.maximum(logits.amax(1), base[rows])
            logits.sub_(top[:, None]).exp_()
            base_share = (base[rows] - top).exp()
            mass = base_share + logits.sum(1)
            total += (weight[rows] * (top + mass.log())).sum()
            scale = weight[rows] / mass
            d_base[rows] = base_share * scale
            logits.mul_(scale[:, None])  # now the gradient of the block's logits
            torch.mm(logits, negatives, out=d_queries[rows])
            d_negatives.addmm_(logits.T, queries[rows])
        ctx.save_for_backward(d_base, d_queries, d_negatives)
        return total

    @staticmethod
    def backward(ctx, grad):
        d_base, d_queries, d_negatives = ctx.saved_tensors
        return grad * d_base, grad * d_queries, grad * d_negatives, None, None, None, None


@torch.compiler.disable
@in_full_precision
def weighted_log_sum_exp(
    base: Tensor,
    queries: Tensor,
    negatives: Tensor,
    offset: Tensor,
    blocked: Tensor,
    group: Tensor,
    weight: Tensor,
) -> Tensor:
    """Scalar sum_i w_i log( exp(base_i) + sum_m exp(queries_i . negatives_m + offset_m) ).

    Args:
        base: [N] logits that are always in the sum.
        queries, negatives: [N, d], [M, d].
        offset: [M], added to the logits of each negative; receives no gradient.
        blocked: [G, M] bool, negatives that rows of a group leave out.
        group: [N] int64, the group of each row.
        weight: [N], receives no gradient.
    """
    return _WeightedLogSumExp.apply(base, queries, negatives, offset, blocked, group, weight)


class FlowInfoNCE(nn.Module):
    """- mean over valid (cut, k) of log softmax of the true item among it and the sampled ones.

    Negatives are shared by the whole batch: some of its own targets, drawn as often as they occur, and
    items drawn uniformly. A window's flows never meet an item that its user clicks in the window, or that is
    a target of one of its cuts.

    Args:
        temperature: tau, start value when ``learnable_temperature``.
        n_in_batch, n_uniform: how many negatives of each kind.
        item_count: [n_items], clicks of each item in the training split (id 0 = padding).
        use_logq: subtract the log of a negative's expected count from its logit.
    """

    def __init__(
        self,
        *,
        temperature: float,
        learnable_temperature: bool,
        n_in_batch: int,
        n_uniform: int,
        item_count: Tensor,
        use_logq: bool,
    ):
        super().__init__()
        self.log_temperature = nn.Parameter(
            torch.tensor(math.log(temperature)), requires_grad=learnable_temperature
        )
        self.n_in_batch = n_in_batch
        self.n_uniform = n_uniform
        self.n_items = len(item_count)
        log_count = torch.zeros(self.n_items)
        if use_logq:
            share = item_count.float() / item_count.sum().clamp_min(1)
            log_count = (n_in_batch * share + n_uniform / (self.n_items - 1)).clamp_min(1e-9).log()
        self.register_buffer("log_count", log_count, persistent=False)

    def draw(self, target_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of in-batch negatives into the flattened targets, and ids of uniform ones.

        target_mask: which targets of the batch are valid, any shape, at least one.
        """
        in_batch = torch.multinomial(target_mask.flatten().float(), self.n_in_batch, replacement=True)
        uniform = torch.randint(1, self.n_items, (self.n_uniform,), device=target_mask.device)
        return in_batch, uniform

    def forward(
        self,
        flow: Tensor,
        targets: Tensor,
        mask: Tensor,
        negatives: Tensor,
        negative_items: Tensor,
        positives: Tensor,
        group: Tensor,
        hard_negatives: Tensor | None = None,
        hard_mask: Tensor | None = None,
    ) -> Tensor:
        """The scalar loss.

        Args:
            flow, targets: unit vectors f_k and y_k [N, K, d].
            mask: [N, K] bool, which targets exist.
            negatives, negative_items: unit vectors [M, d] and item ids [M], shared by all flows.
            positives: [U, P] item ids each window's user clicks, 0 where none.
            group: [N] int64, the window of each flow.
            hard_negatives: [N, H, d] unit vectors, a flow's own further negatives; hard_mask: [N, K, H] bool.
        """
        n_slots = flow.shape[1]
        queries = flow.float() * torch.exp(-self.log_temperature)  # [N, K, d]
        positive = (queries * targets.float()).sum(-1)  # [N, K]
        base = positive
        if hard_negatives is not None:
            hard = queries @ hard_negatives.float().transpose(1, 2)  # [N, K, H]
            hard = hard.masked_fill(~hard_mask, MASKED)
            base = torch.logaddexp(positive, hard.logsumexp(-1))
        weight = mask.float() / mask.sum().clamp_min(1)
        total = weighted_log_sum_exp(
            base.flatten(),
            queries.flatten(0, 1),
            negatives.float(),
            -self.log_count[negative_items],
            owned(positives, negative_items),
            group.repeat_interleave(n_slots),
            weight.flatten(),
        )
        return total - (weight * positive).sum()


class FlowClicks(nn.Module):
    """Whether a row will be clicked, told by the cosines of a flow with the row's item (reconstruction).

        z = w . [max_k f_k.y ; mean_k f_k.y ; f_1.y] + u . y + b

    InfoNCE asks which items a user meets next; among random negatives almost nothing depends on whether
    they are liked. This loss asks which of the items that are met will be clicked, the same scale for all
    users, so that a flow also carries how often its user clicks. u . y is what the item alone says.

    Args:
        width: d.
    """

    def __init__(self, *, width: int):
        super().__init__()
        self.item = nn.Linear(width, 1)  # u and b
        self.weight = nn.Parameter(torch.tensor([0.0, 10.0, 0.0]))

    def forward(self, flow: Tensor, items: Tensor) -> Tensor:
        """flow: unit vectors [N, K, d]; items: unit vectors [N, M, d] -> logits [N, M]."""
        cosines = flow.float() @ items.float().transpose(1, 2)  # [N, K, M]
        features = torch.stack([cosines.amax(1), cosines.mean(1), cosines[:, 0]], dim=-1)
        return features @ self.weight + self.item(items.float()).squeeze(-1)

    def loss(self, flow: Tensor, items: Tensor, label: Tensor, mask: Tensor) -> Tensor:
        """Mean cross-entropy of the rows that follow each cut.

        flow: unit vectors [N, K, d]; items: unit vectors y of the next rows' items [N, M, d]; label: 0 or 1
        [N, M]; mask: [N, M] bool, which rows exist.
        """
        logits = self(flow, items)
        losses = F.binary_cross_entropy_with_logits(logits, label, mask.float(), reduction="sum")
        return losses / mask.sum().clamp_min(1)


def owned(positives: Tensor, items: Tensor) -> Tensor:
    """Which ``items`` [M] (ids > 0) occur in each row of ``positives`` [U, P] (0 = none) -> [U, M] bool."""
    ordered = items.sort().values
    place = torch.searchsorted(ordered, positives)  # of the first item that is not less
    none = ordered[place.clamp(max=len(items) - 1)] != positives
    place = place.masked_fill(none, len(items))
    hit = torch.zeros(len(positives), len(items) + 1, dtype=torch.bool, device=items.device)
    hit.scatter_(1, place, torch.ones_like(place, dtype=torch.bool))
    return hit[:, torch.searchsorted(ordered, items)]
