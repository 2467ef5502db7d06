"""What a run shows while it trains: running means, a progress bar and TensorBoard scalars."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm


class Meter:
    """Running means of scalar tensors, summed where they live: only reading them waits for the device."""

    def __init__(self):
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Counts one step; ``terms`` are detached scalars."""
        for name, term in terms.items():
            if name in self._sums:
                self._sums[name] += term
                self._counts[name] += 1
            else:
                self._sums[name], self._counts[name] = term.float().clone(), 1

    def means(self) -> dict[str, float]:
        """Mean of every term over the steps that had it, in one transfer."""
        if not self._sums:
            return {}
        sums = torch.stack(list(self._sums.values())).tolist()
        return {name: total / self._counts[name] for name, total in zip(self._sums, sums, strict=True)}


def bar(batches: Iterable, total: int, title: str, show: bool) -> tqdm:
    """A progress bar over ``batches``, silent where the screen is not a terminal."""
    return tqdm(batches, total=total, desc=title, unit="batch", leave=False, disable=None if show else True)


class Scalars:
    """TensorBoard scalars in ``folder``, written on the first value; with None nothing is written."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._writer = None

    def add(self, group: str, values: Mapping[str, float], epoch: int) -> None:
        """Writes ``group/name`` for every value of ``values``."""
        if self.folder is None or not values:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self._writer = SummaryWriter(str(self.folder))
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, epoch)

    def close(self) -> None:
        """Flushes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def numbers(values: Mapping[str, float]) -> str:
    """``{"auc": .81234}`` as ``auc .8123`` for a log line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
