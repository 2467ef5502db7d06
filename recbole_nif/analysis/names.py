"""What items and scenes are called: titles of the .item file, tokens of the scene field."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from recbole_nif.data.validation import AtomicFile

TITLES = ("title", "name")  # in the name of the column of titles


class Names:
    """Names by internal id.

    Args:
        items: tokens.
        titles: "" where an item has none; None where the data have no titles.
        members: [sets, S] int64, the elementary scenes of scene sets, 0-padded.
        scenes: of elementary scenes.
    """

    def __init__(self, items: list[str], titles: list[str] | None, members: Tensor, scenes: list[str]):
        self.items, self.titles = items, titles or items
        self.members, self.scenes = members, scenes

    @classmethod
    def of_dataset(cls, config, dataset) -> Names:
        """The names of a built ``CTRDataset``, any of its views."""
        items = [str(token) for token in dataset.field2id_token[dataset.iid_field]]
        return cls(items, _titles(config, dataset), dataset.scenes.members, _scenes(config, dataset))

    def extend(self, tokens: Iterable[str]) -> None:
        """Items that came after the data, whose titles are their tokens."""
        new = list(map(str, tokens))
        if self.titles is not self.items:
            self.titles.extend([""] * len(new))
        self.items.extend(new)

    def title(self, item: int) -> str:
        """The title of an item, its token where it has none."""
        return self.titles[item] or self.items[item]

    def scene_set(self, scene: int) -> str:
        """The elementary scenes of a scene set."""
        return ", ".join(self.scenes[member] for member in self.members[scene].tolist() if member)

    def elementary(self, sets: Tensor) -> Tensor:
        """The elementary scenes of scene sets: [...] -> [..., S], 0-padded."""
        return self.members[sets]


def _titles(config, dataset) -> list[str] | None:
    """The title of every item id, "" where the file has none; None without a column of titles."""
    path = Path(dataset.dataset_path, f"{dataset.dataset_name}.item")
    if not path.is_file():
        return None
    file = AtomicFile.of(path, config)
    column = next((name for word in TITLES for name in file.types if word in name.lower()), None)
    if column is None or dataset.iid_field not in file.types:
        return None
    cells = file.cells([dataset.iid_field, column])
    by_token = dict(zip(cells[dataset.iid_field], cells[column], strict=True))
    return [by_token.get(str(token), "").strip() for token in dataset.field2id_token[dataset.iid_field]]


def _scenes(config, dataset) -> list[str]:
    """Names of the elementary scenes: tokens of the scene field, as far as scenes are its tokens."""
    names = [f"scene {number}" for number in range(dataset.scenes.n_scenes)]
    field = config["scene_field"]
    field = field[0] if isinstance(field, list) and len(field) == 1 else field
    if isinstance(field, str) and dataset.num(field) - 1 <= (config["scene_hash_size"] or 100_000):
        names[: dataset.num(field)] = map(str, dataset.field2id_token[field])
    return names
