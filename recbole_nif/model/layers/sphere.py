"""Geometry of the unit hypersphere for the geodesic regularizers.

Standard Riemannian formulas on S^(d-1), in forms that stay finite, with finite gradients, at
identical and at antipodal points. Vectors lie in the last dimension and leading dimensions
broadcast. Everything is computed in float32 at least, also under autocast: differences of
nearby unit vectors have no meaning in half precision.
"""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

ROOT_GUARD = 1e-12  # added under square roots, whose derivative is infinite at 0
MIN_SINC = 1e-3  # floor of sin(theta) / theta: bounds the gradient of log near the antipode
MIN_TRANSPORT = 1e-4  # floor of 1 + a.b: transport to the antipode is undefined


def in_full_precision(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Run ``function`` outside autocast, with its half precision tensors cast to float32."""

    @functools.wraps(function)
    def wrapper(*tensors: Tensor, **options) -> Tensor:
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(
                *(t.float() if t.dtype in (torch.half, torch.bfloat16) else t for t in tensors), **options
            )

    return wrapper


def safe_norm(x: Tensor) -> Tensor:
    """Euclidean norm over the last dimension [...], with gradient 0 instead of NaN at x = 0."""
    return (x.square().sum(-1) + ROOT_GUARD).sqrt()


@in_full_precision
def unit(x: Tensor) -> Tensor:
    """``x`` scaled to length 1; 0 stays 0."""
    return F.normalize(x, dim=-1, eps=1e-6)


@in_full_precision
def distance(a: Tensor, b: Tensor) -> Tensor:
    """Geodesic distance [...] of unit vectors, in radians from 0 to pi.

    2 atan2(|a - b|, |a + b|): accurate where arccos(a.b) loses all digits and its derivative explodes.
    """
    return 2 * torch.atan2(safe_norm(a - b), safe_norm(a + b))


@in_full_precision
def project_tangent(a: Tensor, w: Tensor) -> Tensor:
    """The part of ``w`` that is tangent to the sphere at the unit vector ``a``."""
    return w - (w * a).sum(-1, keepdim=True) * a


@in_full_precision
def log(a: Tensor, b: Tensor) -> Tensor:
    """Logarithm map: the tangent at ``a`` that points to ``b`` and is as long as their distance.

    log_a(b) = theta / sin(theta) (b - cos(theta) a); discontinuous at b = -a, where this one tends to 0.
    """
    stretch = 1 / torch.sinc(distance(a, b) / math.pi).clamp_min(MIN_SINC)
    return stretch.unsqueeze(-1) * project_tangent(a, b)


@in_full_precision
def exp(a: Tensor, w: Tensor) -> Tensor:
    """Exponential map: the point reached from ``a`` along the tangent ``w``, a length of |w| away."""
    angle = safe_norm(w).unsqueeze(-1)
    return angle.cos() * a + torch.sinc(angle / math.pi) * w


@in_full_precision
def parallel_transport(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    """Carry the tangent ``w`` at ``a`` along the geodesic to ``b``, keeping length and angles."""
    factor = (w * b).sum(-1, keepdim=True) / (1 + (a * b).sum(-1, keepdim=True)).clamp_min(MIN_TRANSPORT)
    return w - factor * (a + b)
