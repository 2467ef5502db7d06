"""NIFDIN against recbole.DIN: training rows per second on the same rows, loader included, fp32.

python -m tests.benchmarks.din [--dataset=ml-1m] [--steps=8] [--out=FILE.json]

Both sides read the same batches (batch 1024, clicks-only history of 50). "Equal sizes" gives both the
same embedding, attention and MLP sizes; "both defaults" compares different architectures.
Targets: 1.3x with equal sizes, 8x with both defaults.
"""

from __future__ import annotations

import argparse
import itertools

import torch

from recbole_nif.config import NIFConfig
from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.dataset import CTRDataset
from tests.benchmarks.timing import interleaved, publish

EQUAL = {
    "embedding_size": 10,
    "mlp_hidden_size": [256, 256, 256],
    "attention_mlp_hidden_size": [256, 256, 256],
}
SIDES = {
    "recbole.DIN, equal sizes": ("recbole.DIN", {}),  # its defaults are the sizes of EQUAL
    "NIFDIN, equal sizes": ("NIFDIN", EQUAL),
    "recbole.DIN, defaults": ("recbole.DIN", {}),
    "NIFDIN, defaults": ("NIFDIN", {}),
}


def trainer_of(model_name: str, overrides: dict, dataset: str, steps: int):
    """A function that trains ``steps`` batches and returns the rows it has seen."""
    config = NIFConfig(
        model_name, dataset, config_dict={"device": "cpu", "train_batch_size": 1024, **overrides}
    )
    torch.manual_seed(config["seed"])
    train = CTRDataset(config).build()[0]
    loader = CTRDataLoader(config, train, "train", shuffle=True)
    model = config.model_class(config, train).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    batches = itertools.chain.from_iterable(itertools.repeat(loader))

    def work() -> int:
        rows = 0
        for batch in itertools.islice(batches, steps):
            optimizer.zero_grad(set_to_none=True)
            model.calculate_loss(batch).backward()
            optimizer.step()
            rows += len(batch["user_id"])
        return rows

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out")
    options = parser.parse_args()
    sides = {
        name: trainer_of(model, sizes, options.dataset, options.steps)
        for name, (model, sizes) in SIDES.items()
    }
    rates = interleaved(sides)
    rows = []
    for label, note in (("equal sizes", "same layer sizes"), ("defaults", "different architectures")):
        stock, ours = rates[f"recbole.DIN, {label}"], rates[f"NIFDIN, {label}"]
        rows.append([f"{label} ({note})", stock, ours, ours / stock])
    publish(
        f"DIN, {options.dataset}",
        ["training rows/s", "recbole.DIN", "NIFDIN", "times faster"],
        rows,
        options.out,
    )


if __name__ == "__main__":
    main()
