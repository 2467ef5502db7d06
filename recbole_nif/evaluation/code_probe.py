"""What generated semantic IDs know of the next click: how often their codes are those of the clicked item.

Measured on clicked rows, on a fixed, seeded sample of validation rows and a training sample of equal size.
For a clicked training row its own codes were a target of the decoder, so a hit rate that is much higher
there is memory: the cohorts that the click model learns to trust are then worse for new rows.
"""

import numpy as np
import torch
from torch import Tensor, nn

from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.fields import ROW_ID
from recbole_nif.device import to_device
from recbole_nif.evaluation.flow_probe import loader_of

MAX_ROWS = 20_000


@torch.inference_mode()
def probe_codes(model: nn.Module, config, train: CTRDataLoader, valid: CTRDataLoader) -> dict[str, float]:
    """Hit rates by level n and of the whole prefix, for validation and training rows, and what is trivial.

    Args:
        model: with ``code_hits(batch)`` -> [B, N-1] bool and ``codes`` [n_items, N].
        train, valid: loaders of the training and validation rows.

    Returns:
        ``code_hit@n``, ``code_hit@all``, the same with ``train_``, and ``popular_code_hit@n``: how often the
        most frequent code among training clicks is right on the validation rows.
    """
    model.eval()
    rng = np.random.default_rng([config["seed"], 6])
    facts: dict[str, float] = {}
    samples = {"": _clicked_rows(valid, rng), "train_": _clicked_rows(train, rng)}
    size = min(len(samples["train_"]), max(1, len(samples[""])))
    samples["train_"] = samples["train_"][:size]
    for prefix, rows in samples.items():
        hits = [
            model.code_hits(to_device(batch, config["device"])).cpu()
            for batch in loader_of(config, train.dataset, _in_log_order(train.dataset, rows))
        ]
        rates = torch.cat(hits).double() if len(rows) else torch.full((1, 1), float("nan"))
        for level, rate in enumerate(rates.mean(0).tolist(), start=1):
            facts[f"{prefix}code_hit@{level}"] = rate
        facts[f"{prefix}code_hit@all"] = rates.prod(1).mean().item()
    facts |= _popular_codes(model.codes.cpu(), train.dataset, samples[""])
    return facts


def _clicked_rows(loader: CTRDataLoader, rng: np.random.Generator) -> Tensor:
    """Row ids of up to ``MAX_ROWS`` clicked rows, in random order."""
    dataset = loader.dataset
    rows = dataset.inter_feat[ROW_ID]
    rows = rows[dataset.event_log.label[dataset.event_log.position[rows].long()] == 1]
    return rows[torch.from_numpy(rng.permutation(len(rows))[:MAX_ROWS])]


def _in_log_order(dataset, rows: Tensor) -> Tensor:
    """Neighbors in the log share windows."""
    return rows[dataset.event_log.position[rows].argsort()]


def _popular_codes(codes: Tensor, dataset, rows: Tensor) -> dict[str, float]:
    log = dataset.event_log
    target = codes[log.item[log.position[rows].long()].long()]  # [M, N]
    facts = {}
    for level in range(codes.shape[1] - 1):
        has_code = codes[:, level] >= 0
        clicks = torch.bincount(codes[has_code, level], weights=dataset.train_item_count[has_code].double())
        facts[f"popular_code_hit@{level + 1}"] = (target[:, level] == clicks.argmax()).double().mean().item()
    return facts
