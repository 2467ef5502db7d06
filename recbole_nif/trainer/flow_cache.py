"""Flows of a frozen generator, computed once per row and kept in half precision.

ml-1m: 739,012 rows x 4 vectors x 64 numbers x 2 bytes = 378 MB, in memory or in a memory-mapped file.
"""

import logging
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.fields import FLOW, ROW_ID
from recbole_nif.device import to_device
from recbole_nif.errors import UserError
from recbole_nif.evaluation.flow_probe import loader_of

logger = logging.getLogger(__name__)

KINDS = ("auto", "memory", "memmap", "none")


def caches_flows(config, model: nn.Module) -> bool:
    """Whether ``model`` reads the flow of a frozen generator and ``flow_cache`` lets it be stored.

    Flows of a streamed log are not: they take more room than its events.
    """
    kind = config["flow_cache"] or "auto"
    if kind not in KINDS:
        raise UserError(f"flow_cache is {kind!r}: use one of {', '.join(KINDS)}.")
    generator = getattr(model, "generator", None)
    frozen = generator is not None and not any(
        parameter.requires_grad for parameter in generator.parameters()
    )
    stored = kind != "none" and not config["stream_shards"]
    return frozen and stored and config["use_nif"] is not False


class FlowCache:
    """A table [rows of the dataset, K, d] in float16, filled for one group of rows after the other.

    Args:
        config: ``flow_cache``: ``memory``, ``memmap`` or ``auto`` (memory up to ``flow_cache_memory_mb``).
        folder: where a memory-mapped table lies; its file has no name and goes with the process.
    """

    def __init__(self, config, folder: Path):
        self.config, self.folder = config, folder
        self.table: Tensor | None = None
        self.filled: Tensor | None = None  # bool [rows]

    def attach(self, loader: CTRDataLoader, generator: nn.Module) -> None:
        """Adds the flow to every batch of ``loader``; ``generator`` makes those not yet in the table."""
        rows = loader.dataset.inter_feat[ROW_ID]
        if self.filled is not None:
            rows = rows[~self.filled[rows]]
        if len(rows):
            self.fill(loader.dataset, rows, generator)
        loader.attach(FLOW, self.table)

    @torch.inference_mode()
    def fill(self, dataset, rows: Tensor, generator: nn.Module) -> None:
        """Computes the flows of ``rows`` [N] (row ids of ``dataset``)."""
        generator.eval()
        device = self.config["device"]
        # rows in log order share moveline windows, so that one window is encoded about once
        rows = rows[dataset.event_log.position[rows].argsort()]
        for batch in loader_of(self.config, dataset, rows):
            flow = generator.flow(to_device(batch, device))  # [B, K, d]
            if self.table is None:
                self._allocate(len(dataset.event_log.position), flow.shape[1:])
            self.table[batch[ROW_ID]] = flow.to("cpu", torch.float16)
        self.filled[rows] = True

    def _allocate(self, n_rows: int, shape: torch.Size) -> None:
        numbers = n_rows * shape.numel()
        kind = self.config["flow_cache"] or "auto"
        limit = self.config["flow_cache_memory_mb"] or 1024
        if kind == "memory" or (kind == "auto" and numbers * 2 <= limit * 2**20):
            table = torch.zeros(numbers, dtype=torch.float16)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            logger.info("flow cache: %.0f MB in a file in %s", numbers * 2 / 2**20, self.folder)
            with tempfile.NamedTemporaryFile(dir=self.folder) as file:
                table = torch.from_file(file.name, shared=True, size=numbers, dtype=torch.float16)
        self.table = table.view(n_rows, *shape)
        self.filled = torch.zeros(n_rows, dtype=torch.bool)
