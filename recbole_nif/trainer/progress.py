"""What a run shows while it trains: running means, a progress bar and TensorBoard scalars."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

logger = logging.getLogger(__name__)


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

    def state(self) -> dict[str, list]:
        """Sum and count of every term, for ``load``."""
        return {name: [total, self._counts[name]] for name, total in self._sums.items()}

    def load(self, state: Mapping[str, list], device: torch.device) -> None:
        """Goes on from ``state``."""
        self._sums = {name: total.to(device) for name, (total, _) in state.items()}
        self._counts = {name: count for name, (_, count) in state.items()}


def bar(batches: Iterable, total: int, done: int, title: str, show: bool) -> tqdm:
    """A progress bar, ``done`` of ``total`` batches behind it; silent where the screen is no terminal."""
    disable = None if show else True
    return tqdm(batches, total=total, initial=done, desc=title, unit="batch", leave=False, disable=disable)


class Scalars:
    """TensorBoard scalars in ``folder``, written on the first value; with None nothing is written."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._writer = None

    def add(self, group: str, values: Mapping[str, float], epoch: int) -> None:
        """Writes ``group/name`` for every value of ``values``."""
        if self.folder is None or not values:
            return
        try:
            if self._writer is None:
                from torch.utils.tensorboard import SummaryWriter  # slow to import

                self._writer = SummaryWriter(str(self.folder))
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, epoch)
            self._writer.flush()
        except OSError as error:
            logger.warning("Cannot write %s (%s): TensorBoard scalars end here.", self.folder, error.strerror)
            self.folder = self._writer = None

    def close(self) -> None:
        """Flushes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def numbers(values: Mapping[str, float]) -> str:
    """``{"auc": .81234}`` as ``auc .8123`` for a log line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())
