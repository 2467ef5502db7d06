"""Exponential moving average of the weights, which is validated and kept instead of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class WeightAverage:
    """a_t = d_t a_{t-1} + (1 - d_t) w_t of every trained parameter w, with d_t = min(d, (1 + t) / (10 + t)).

    The warm-up of d_t is that of TensorFlow's ExponentialMovingAverage: the random weights of the first steps
    are soon forgotten. Buffers (batch norm's statistics) are averages already and are left alone.

    Args:
        parameters: what is trained.
        decay: d, such as 0.999: the average reaches back over about 1 / (1 - d) steps.
    """

    def __init__(self, parameters: list[Tensor], decay: float):
        self.parameters, self.decay, self.steps = parameters, decay, 0
        self.averages = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the parameters after a step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)
        self.steps += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the parameters hold their averages."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            trained = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(trained)

    def state(self) -> dict:
        """Plain values and tensors, for ``load``."""
        return {"steps": self.steps, "averages": self.averages}

    def load(self, state: dict) -> None:
        """Goes on from ``state``."""
        self.steps = state["steps"]
        for average, saved in zip(self.averages, state["averages"], strict=True):
            average.copy_(saved)
