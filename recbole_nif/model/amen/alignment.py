"""Semantic Alignment Module: moves the frozen generator's flow into the space of stage 2 (reconstruction).

The generator stays as it was while the tables of stage 2 move on. The module maps the flow after them,
and a gate chooses, per candidate, which flow vectors count; its loss pulls the flow of clicked rows
towards the clicked item.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_nif.model.layers.sphere import in_full_precision, unit


class SemanticAlignment(nn.Module):
    """fb_k = f_k + U gelu(V f_k),   g_k = sigmoid(w_g . [fb_k ; e ; fb_k * e] + b_g)

    U starts at 0, so the module starts as the identity.
    """

    def __init__(self, *, width: int):
        super().__init__()
        self.inner = nn.Linear(width, width)  # V
        self.outer = nn.Parameter(torch.zeros(width, width))  # U
        self.gate = nn.Linear(3 * width, 1)

    def forward(self, flow: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        """flow: unit vectors [N, K, d]; item: candidates W_e e_v [N, d] -> fb [N, K, d] and log g [N, K]."""
        aligned = flow + F.gelu(self.inner(flow)) @ self.outer
        item = item.unsqueeze(1).expand_as(aligned)
        gate = self.gate(torch.cat([aligned, item, aligned * item], dim=-1)).squeeze(-1)
        return aligned, F.logsigmoid(gate)


class FlowTargetAttention(nn.Module):
    """c^F = sum_k a_k W_V fb_k,   a = softmax_k((W_Q e) . (W_K fb_k) / sqrt(d) + log g_k)"""

    def __init__(self, *, width: int):
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, flow: Tensor, item: Tensor, log_gate: Tensor | None) -> Tensor:
        """flow: [N, K, d]; item: [N, d]; log_gate: [N, K] or None for an open gate -> [N, d]."""
        # W_V after the sum: the weights add up to 1, so it is the same and K times cheaper.
        return self.value((self.weights(flow, item, log_gate).unsqueeze(1) @ flow).squeeze(1))

    def weights(self, flow: Tensor, item: Tensor, log_gate: Tensor | None) -> Tensor:
        """a [N, K]; arguments as in ``forward``."""
        scores = (self.key(flow) @ self.query(item).unsqueeze(-1)).squeeze(-1) / flow.shape[
            -1
        ] ** 0.5  # [N, K]
        if log_gate is not None:
            scores = scores + log_gate
        return scores.softmax(-1)


@in_full_precision
def match_scores(flow: Tensor, item: Tensor) -> Tensor:
    """q^F: cosines of the flow [N, K, d] with the candidate [N, d]: largest, mean and first -> [N, 3]."""
    cosine = (unit(flow) @ unit(item).unsqueeze(-1)).squeeze(-1)  # [N, K]
    return torch.stack([cosine.amax(1), cosine.mean(1), cosine[:, 0]], dim=1)


@in_full_precision
def alignment_loss(
    summary: Tensor, item: Tensor, ids: Tensor, weight: Tensor, *, temperature: float
) -> Tensor:
    """InfoNCE between each clicked row's flow and item, against the other clicked items of the batch.

    Args:
        summary: sum_k g_k fb_k of each row [B, d].
        item: W_e e_v of each row's item [B, d]; ids: its id [B]: the same item is no negative.
        weight: [B], 1 for clicked samples, 0 for rows that take no part.

    Returns:
        Scalar mean over the rows that count; 0 if there is none.
    """
    logits = unit(summary) @ unit(item).T / temperature  # [B, B]
    own = torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    negative = (weight > 0) & (ids.unsqueeze(1) != ids)
    weightless = -1 / temperature - 40  # exp of much smaller numbers is several times slower on a CPU
    losses = logits.masked_fill(~(negative | own), weightless).logsumexp(1) - logits.diagonal()
    return (weight * losses).sum() / weight.sum().clamp_min(1)
