"""The cross network of DCN V2: products of features of bounded degree, ahead of a feed-forward network."""

import torch
from torch import Tensor, nn


class CrossNetwork(nn.Module):
    """Wang et al., "DCN V2", WWW 2021, Eq. 1 (full rank) and Eq. 2 (low rank).

        x_{l+1} = x_0 * (W_l x_l + b_l) + x_l ,   with a rank r   W_l = U_l V_l

    Args:
        size: width d of the input.
        n_layers: L; the output holds products of up to L + 1 inputs.
        rank: r; None for a full matrix.
    """

    def __init__(self, size: int, n_layers: int, rank: int | None = None):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(size, size)
            if rank is None
            else nn.Sequential(nn.Linear(size, rank, bias=False), nn.Linear(rank, size))
            for _ in range(n_layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., d] -> [..., d]"""
        crossed = x
        for layer in self.layers:
            crossed = torch.addcmul(crossed, x, layer(crossed))
        return crossed
