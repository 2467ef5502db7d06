"""The cross network of DCN V2: products of features of bounded degree, ahead of a feed-forward network."""

import torch
from torch import Tensor, nn

from recbole_nif.model.layers.embedding import QUIET


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

    def start_quietly(self) -> None:
        """The output is nearly the input at first."""
        for layer in self.layers:
            last = layer if isinstance(layer, nn.Linear) else layer[-1]
            nn.init.xavier_normal_(last.weight, gain=QUIET)

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., d] -> [..., d]"""
        crossed = x
        for layer in self.layers:
            crossed = torch.addcmul(crossed, x, layer(crossed))
        return crossed
