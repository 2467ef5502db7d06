"""Generated logs of any size, block of users after block, so that no log needs to fit into memory.

Items follow a power law, users are differently active (gamma), times of a user are sorted with some ties. A
click depends on the item, on the user and on whether the item's category is that of the user's last event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

FIRST_SECOND = 1_600_000_000
SPAN = 30 * 86_400  # seconds
COLUMNS = ("user_id", "item_id", "label", "timestamp")


@dataclass(frozen=True)
class GeneratedLog:
    """A log of about ``events`` events; the same numbers give the same log.

    Attributes:
        events: how many, on average over seeds.
        events_per_user: mean.
        items, categories: sizes of the catalogue; item i is of category i mod ``categories``.
        block_users: users that are generated together.
    """

    events: int
    events_per_user: int = 100
    items: int = 20_000
    categories: int = 100
    seed: int = 0
    block_users: int = 5_000

    @property
    def users(self) -> int:
        return max(1, self.events // self.events_per_user)

    def blocks(self) -> Iterator[dict[str, np.ndarray]]:
        """Columns of a block of users after the other; ids from 1, rows sorted by user and time."""
        for number, first in enumerate(range(1, self.users + 1, self.block_users)):
            yield self._block(number, first, min(self.block_users, self.users + 1 - first))

    def _block(self, number: int, first: int, users: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([self.seed, number])
        count = 1 + rng.poisson(rng.gamma(2.0, (self.events_per_user - 1) / 2, users))
        user = np.repeat(np.arange(users), count)
        size = len(user)
        item = 1 + (self.items * rng.random(size) ** 3).astype(np.int64)
        time = np.sort(user * 2 * SPAN + rng.integers(0, SPAN, size)) - user * 2 * SPAN
        follows = np.zeros(size, dtype=bool)
        follows[1:] = (item[1:] % self.categories == item[:-1] % self.categories) & (user[1:] == user[:-1])
        odds = 1.5 * np.sin(item) + rng.normal(0, 0.5, users)[user] + 2.0 * follows - 1.0
        return {
            "user_id": first + user,
            "item_id": item,
            "label": (rng.random(size) < 1 / (1 + np.exp(-odds))).astype(np.int8),
            "timestamp": FIRST_SECOND + time,
        }

    def write_atomic(self, folder: Path, name: str = "generated") -> int:
        """Writes ``<folder>/<name>/<name>.{inter,item}`` in RecBole's format; returns the number of rows."""
        target, rows = folder / name, 0
        target.mkdir(parents=True, exist_ok=True)
        with open(target / f"{name}.inter", "w", encoding="utf-8") as file:
            file.write("user_id:token\titem_id:token\tlabel:float\ttimestamp:float\n")
            for block in self.blocks():
                pd.DataFrame(block).to_csv(file, sep="\t", header=False, index=False)
                rows += len(block["user_id"])
        item = np.arange(1, self.items + 1)
        catalogue = pd.DataFrame({"item_id:token": item, "category:token": item % self.categories})
        catalogue.to_csv(target / f"{name}.item", sep="\t", index=False)
        return rows


def atomic_settings(folder: Path) -> dict:
    """Config keys with which ``write_atomic``'s files are loaded."""
    return {
        "data_path": str(folder),
        "load_col": {"inter": list(COLUMNS), "item": ["item_id", "category"]},
        "scene_field": "category",
        "scene_mode": "token",
        "device": "cpu",
    }
