"""Exponential moving average of the weights, which is validated and kept instead of the weights."""

import math
from collections.abc import Iterator, Mapping, Sequence
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
        tables: those of the parameters of which a step changes few rows; ``update`` is told which.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float, tables: Sequence[Tensor] = ()):
        self.decay, self.steps = decay, 0
        self.parameters = [p for p in parameters if not any(p is table for table in tables)]
        self.averages = [parameter.detach().clone() for parameter in self.parameters]
        self.tables = [_TableAverage(table) for table in tables]

    @torch.no_grad()
    def before_step(self, rows: Mapping[Tensor, Tensor]) -> None:
        """To be called before a step that changes ``rows`` of tables, table -> [m]."""
        for table in self.tables:
            if table.weight in rows:
                table.bring_up(rows[table.weight])

    @torch.no_grad()
    def update(self, rows: Mapping[Tensor, Tensor] | None = None) -> None:
        """Takes in the parameters after a step, which changed ``rows`` of tables."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        if self.averages:
            torch._foreach_lerp_(self.averages, self.parameters, 1 - decay)
        for table in self.tables:
            table.update(decay, (rows or {}).get(table.weight))
        self.steps += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the parameters hold their averages."""
        for table in self.tables:
            table.bring_up()
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        tables = [(table.weight, table.average) for table in self.tables]
        for parameter, average in [*zip(self.parameters, self.averages, strict=True), *tables]:
            trained = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(trained)

    def state(self) -> dict:
        """Plain values and tensors, for ``load``."""
        return {
            "steps": self.steps,
            "averages": self.averages,
            "tables": [table.state() for table in self.tables],
        }

    def load(self, state: dict) -> None:
        """Goes on from ``state``."""
        self.steps = state["steps"]
        for average, saved in zip(self.averages, state["averages"], strict=True):
            average.copy_(saved)
        for table, saved in zip(self.tables, state.get("tables", ()), strict=True):
            table.load(saved)


class _TableAverage:
    """The average of a table, in which a row is brought up to date when it is needed.

    While a row's weights w stay from step s to step t, its average goes to a_t = w + D_t / D_s (a_s - w),
    where D_t is the product of the decays of all steps up to t.

    Attributes:
        weight: the table [n, d].
        average: its average as of the steps that ``row_decay`` tells, [n, d].
        row_decay: log D_s of each row, [n].
        log_decay: log D_t of now.
    """

    def __init__(self, weight: Tensor):
        self.weight, self.average = weight, weight.detach().clone()
        self.row_decay = torch.zeros(len(weight), dtype=torch.float64, device=weight.device)
        self.log_decay = 0.0

    def update(self, decay: float, rows: Tensor | None) -> None:
        """Takes in a step, after which ``rows`` [m] have other weights and all others the same."""
        self.log_decay += math.log(decay)
        if rows is not None:
            self.average[rows] = torch.lerp(self.average[rows], self.weight[rows], 1 - decay)
            self.row_decay[rows] = self.log_decay

    @torch.no_grad()
    def bring_up(self, rows: Tensor | slice = slice(None)) -> None:
        """Makes the averages of ``rows`` [m], or of all, those of now."""
        left = torch.exp(self.log_decay - self.row_decay[rows]).to(self.average).unsqueeze(1)
        self.average[rows] = torch.lerp(self.weight[rows], self.average[rows], left)
        self.row_decay[rows] = self.log_decay

    def state(self) -> dict:
        """Plain values and tensors."""
        return {"average": self.average, "row_decay": self.row_decay, "log_decay": self.log_decay}

    def load(self, state: dict) -> None:
        """Goes on from ``state``."""
        self.average.copy_(state["average"])
        self.row_decay.copy_(state["row_decay"])
        self.log_decay = state["log_decay"]
