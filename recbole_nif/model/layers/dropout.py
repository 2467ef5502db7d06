"""Dropout whose mask is drawn eight elements at a time on a CPU, where drawing takes longer than using it."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """``nn.Dropout``, but on a CPU ``p`` is rounded to a 256th: a random byte says what is kept.

    What is kept is divided by the rounded probability of being kept, so that the mean is right.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[...] -> [...]"""
        dropped = round(256 * self.p)
        if not (self.training and x.is_cpu and 0 < dropped < 256):
            return super().forward(x)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - dropped))
