"""Interest diversity and evolution velocity of a flow, in two forms (reconstruction).

``cosine`` follows the first version of arXiv 2510.11317, ``geodesic`` the wording of the second: tangent
space decomposition and geodesic smoothness on the unit hypersphere. Neither paper's equations were seen.
A flow is K unit vectors f_1..f_K; its anchor c is a unit vector, the current interest.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recbole_nif.model.layers import sphere

LOGDET_RIDGE = 1e-3


@dataclass(frozen=True)
class FlowRegularizer:
    """Both regularizers of one form. All vectors in float32.

    Args:
        form: "none", "cosine" or "geodesic".
        div_form: "hinge" punishes pairs closer than the margin; "logdet" (cosine) and "tangent_logdet"
            (geodesic) reward a large volume of the Gram matrix.
        delta, delta_t: margin of the hinge between flow vectors (cosine), between tangents (geodesic).
        theta_0: angle in radians below which a tangent's direction is taken for noise and loses weight.
        vel_target: "smooth" wants short steps, "match" steps as long as those of the targets.
        beta_acc: weight of the acceleration beside the energy (geodesic).
        anchor: tangent space at the "last" event's interest c, or at the "mean" of the flow.
    """

    form: Literal["none", "cosine", "geodesic"] = "geodesic"
    div_form: Literal["hinge", "logdet", "tangent_logdet"] = "hinge"
    delta: float = 0.5
    delta_t: float = 0.0
    theta_0: float = 0.1
    vel_target: Literal["smooth", "match"] = "smooth"
    beta_acc: float = 0.5
    anchor: Literal["last", "mean"] = "last"

    def diversity(self, flow: Tensor, anchor: Tensor, mask: Tensor) -> Tensor:
        """L_div of each flow. flow: unit [N, K, d]; anchor: unit [N, d]; mask: real targets [N, K] -> [N]."""
        if self.form == "cosine":
            gram = flow @ flow.transpose(1, 2)  # [N, K, K]
            return hinge_loss(gram, self.delta) if self.div_form == "hinge" else logdet_loss(gram)
        if self.anchor == "mean":
            anchor = sphere.unit((flow * mask.unsqueeze(-1)).sum(1))
        xi = sphere.log(anchor.unsqueeze(1), flow)  # [N, K, d], tangent at the anchor
        theta = sphere.safe_norm(xi)  # [N, K]
        direction = xi / theta.unsqueeze(-1)
        gram = direction @ direction.transpose(1, 2)  # u_k . u_l
        if self.div_form != "hinge":
            return logdet_loss(gram)
        trust = (theta.detach() / self.theta_0).clamp_max(1)
        return hinge_loss(gram, self.delta_t, trust.unsqueeze(2) * trust.unsqueeze(1))

    def velocity(self, flow: Tensor, anchor: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        """L_vel of each flow; targets: unit y_k [N, K, d], the rest as in :meth:`diversity` -> [N]."""
        if self.form == "cosine":
            speed = 1 - (flow[:, :-1] * flow[:, 1:]).sum(-1)  # [N, K - 1]
            wanted = 1 - (targets[:, :-1] * targets[:, 1:]).sum(-1)
            return self._pace(speed, speed, wanted, mask)
        path = torch.cat([anchor.unsqueeze(1), flow], dim=1)  # f_0 = c
        speed = sphere.distance(path[:, :-1], path[:, 1:])  # [N, K]
        wanted = sphere.distance(targets[:, :-1], targets[:, 1:])  # [N, K - 1]
        return self._pace(speed.square(), speed[:, 1:], wanted, mask) + self.beta_acc * acceleration(path)

    def _pace(self, energy: Tensor, speed: Tensor, wanted: Tensor, mask: Tensor) -> Tensor:
        if self.vel_target == "smooth":
            return energy.sum(1) / max(1, energy.shape[1])
        steps = mask[:, :-1] & mask[:, 1:]
        return ((speed - wanted).square() * steps).sum(1) / steps.sum(1).clamp_min(1)


def hinge_loss(gram: Tensor, margin: float, weight: Tensor | float = 1.0) -> Tensor:
    """2 / (K (K-1)) sum_{k<l} w_kl max(0, G_kl - margin)^2 of [N, K, K] -> [N]; 0 for K = 1."""
    n_slots = gram.shape[-1]
    excess = (weight * (gram - margin).clamp_min(0).square()).triu(diagonal=1)
    return excess.sum((1, 2)) * 2 / max(1, n_slots * (n_slots - 1))


def logdet_loss(gram: Tensor) -> Tensor:
    """-1/K logdet(G + ridge I) of [N, K, K] -> [N]: 0 for orthonormal vectors (up to the ridge)."""
    n_slots = gram.shape[-1]
    ridge = LOGDET_RIDGE * torch.eye(n_slots, device=gram.device, dtype=gram.dtype)
    return -torch.linalg.slogdet(gram + ridge).logabsdet / n_slots


def acceleration(path: Tensor) -> Tensor:
    """Mean squared change of velocity along ``path`` [N, K + 1, d] -> [N]; 0 on a geodesic of constant speed.

    The change at f_k is log_{f_k}(f_{k+1}) - PT_{f_{k-1} -> f_k}(log_{f_{k-1}}(f_k)).
    """
    before, here, after = path[:, :-2], path[:, 1:-1], path[:, 2:]  # [N, K - 1, d]
    arriving = sphere.parallel_transport(before, here, sphere.log(before, here))
    change = sphere.log(here, after) - arriving
    return change.square().sum((1, 2)) / max(1, change.shape[1])
