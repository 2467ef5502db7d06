"""What a benchmark of training needs: a model on its data, and a function that trains a few batches."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import torch

from recbole_nif.config import NIFConfig
from recbole_nif.data.dataloader import CTRDataLoader
from recbole_nif.data.dataset import CTRDataset


def parse_options(description: str) -> argparse.Namespace:
    """The options of a benchmark of training: ``dataset``, ``steps`` of a repeat and ``out``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--dataset", default="ml-1m")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out")
    return parser.parse_args()


def prepare(model_name: str, dataset: str, **overrides):
    """Config, shuffled training loader and new model; CPU, batch 1024."""
    config = NIFConfig(
        model_name, dataset, config_dict={"device": "cpu", "train_batch_size": 1024, **overrides}
    )
    torch.manual_seed(config["seed"])
    train = CTRDataset(config).build()[0]
    return config, CTRDataLoader(config, train, "train", shuffle=True), config.model_class(config, train)


def trainer_of(model_name: str, dataset: str, steps: int, **overrides) -> Callable[[], int]:
    """A function that trains ``steps`` batches, by RecBole's loop, and returns the rows it has seen."""
    config, loader, model = prepare(model_name, dataset, **overrides)
    optimizer = torch.optim.Adam(model.train().parameters(), lr=config["learning_rate"])
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
