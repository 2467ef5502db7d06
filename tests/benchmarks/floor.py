"""What share of a training step its matrix products need: the floor below which no code of ours can go.

python -m tests.benchmarks.floor [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

The matrix products of one step are recorded with their shapes. Each is then done alone, on contiguous random
matrices that stay in memory, as fast as torch does it here; their sum is the floor. The share is the floor by
the median time of the step, loader included. Fused attention counts as the products it is made of.
Target: half of a step of NIFDIN and of AMEN's stage 2.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.benchmarks.amen import samples, stage_2, training
from tests.benchmarks.genci import IDS
from tests.benchmarks.setup import parse_options, trainer_of
from tests.benchmarks.timing import publish

Product = tuple[tuple[int, ...], tuple[int, ...]]  # shapes of the two factors
MODELS = ("NIFDIN", "NIFDIEN", "GenCI", "AMEN stage 2")
REPEATS = 5


class Products(TorchDispatchMode):
    """Counts the matrix products that run under it."""

    def __init__(self):
        super().__init__()
        self.count: Counter[Product] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self._note(str(function.overloadpacket), args)
        return function(*args, **(kwargs or {}))

    def _note(self, name: str, args: tuple) -> None:
        if name in ("aten.mm", "aten.bmm"):
            self._add(args[0], args[1])
        elif name in ("aten.addmm", "aten.baddbmm"):
            self._add(args[1], args[2])
        elif name.startswith("aten._scaled_dot_product"):
            backward = "backward" in name
            queries, keys, values = args[1:4] if backward else args[:3]
            pairs = [(queries, keys.mT), (queries.new_empty(*queries.shape[:-1], keys.shape[-2]), values)]
            for number, (left, right) in enumerate(pairs):
                if not backward or number == 0:  # the weights are computed again
                    self._add(left, right)
                if backward:  # of each the gradients of both factors
                    self._add(left.mT, left.new_empty(*left.shape[:-1], right.shape[-1]))
                    self._add(left.new_empty(*left.shape[:-1], right.shape[-1]), right.mT)

    def _add(self, left: Tensor, right: Tensor) -> None:
        self.count[tuple(left.shape), tuple(right.shape)] += 1


def training_of(name: str, dataset: str, steps: int) -> Callable[[], int]:
    """A function that trains ``steps`` batches."""
    if name == "AMEN stage 2":
        config, loader, model = stage_2(dataset)
        return training(model, config, loader, samples, steps)
    return trainer_of(name, dataset, steps, **(IDS if name == "GenCI" else {}))


def seconds_of(work: Callable[[], object]) -> float:
    """The median over ``REPEATS``, after one warm-up."""
    times = []
    for _ in range(REPEATS + 1):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


def floor_of(products: Counter[Product]) -> tuple[float, float]:
    """Seconds that the products take alone, and their floating point operations."""
    seconds = flops = 0.0
    for (left, right), count in products.items():
        a, b = torch.randn(left), torch.randn(right)
        seconds += count * seconds_of(lambda a=a, b=b: a @ b)
        flops += count * 2 * a.numel() * right[-1]
    return seconds, flops


def main() -> None:
    options = parse_options(__doc__)
    rows = []
    for name in MODELS:
        one, many = (training_of(name, options.dataset, steps) for steps in (1, options.steps))
        one()
        with Products() as products:
            one()
        seconds, flops = floor_of(products.count)
        step = seconds_of(many) / options.steps
        rows.append(
            [name, 1000 * step, 1000 * seconds, flops / 1e9, flops / seconds / 1e9, 100 * seconds / step]
        )
    header = ["training", "step, ms", "its products alone, ms", "their GFLOP", "GFLOP/s alone", "share, %"]
    publish(f"Floor of matrix products, {options.dataset}, batch 1024", header, rows, options.out)


if __name__ == "__main__":
    main()
