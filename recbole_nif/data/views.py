"""The data of a run: in memory, or streamed from shards where ``stream_shards`` names a folder of them."""

from __future__ import annotations

from recbole_nif.data.dataloader import CTRDataLoader, shuffles
from recbole_nif.data.dataset import CTRDataset
from recbole_nif.data.stream.dataset import StreamedLog
from recbole_nif.data.stream.loader import StreamLoader
from recbole_nif.data.stream.shards import SPLITS

View = CTRDataset | StreamedLog
Loader = CTRDataLoader | StreamLoader


def build_views(config) -> list[View]:
    """The training, validation and test view."""
    if config["stream_shards"]:
        log = StreamedLog(config)
        return [log.of_split(split) for split in SPLITS]
    return CTRDataset(config).build()


def loader_of_view(config, view: View, phase: str) -> Loader:
    """Batches of a view; those of the training phase are shuffled unless ``shuffle`` is False."""
    loader = StreamLoader if isinstance(view, StreamedLog) else CTRDataLoader
    return loader(config, view, phase=phase, shuffle=shuffles(config, phase))
