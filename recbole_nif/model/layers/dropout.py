"""Dropout whose mask is drawn eight elements at a time on a CPU, where drawing takes longer than using it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def drop(x: Tensor, p: float) -> Tensor:
    """Dropout of rate ``p``, [...] -> [...]; on a CPU ``p`` is rounded to a 256th: a byte says what is kept.

    What is kept is divided by the rounded probability of being kept, so that the mean is right.
    """
    if not p:
        return x
    dropped = round(256 * p)
    if not (x.is_cpu and 0 < dropped < 256):
        return F.dropout(x, p)
    words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * kept.to(x.dtype).mul_(256 / (256 - dropped))


class Dropout(nn.Dropout):
    """``nn.Dropout`` by :func:`drop`."""

    def forward(self, x: Tensor) -> Tensor:
        """[...] -> [...]"""
        return drop(x, self.p) if self.training else x
