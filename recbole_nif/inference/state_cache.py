"""What was computed of users, kept until it is stale or too much."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from recbole.data.interaction import Interaction
from torch import Tensor


class StateCache:
    """Values by key; the least recently used go first when there are too many bytes.

    A key says all that a value depends on, so that no value is ever stale.

    Args:
        max_bytes: of the tensors of all values together; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes, self.nbytes = max_bytes, 0
        self.hits = self.misses = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Any | None:
        """The value of ``key``, None if there is none."""
        found = self._values.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: Any) -> None:
        """Keeps ``value``, unless it is larger than the whole cache."""
        size = nbytes(value)
        if size > self.max_bytes:
            return
        self._drop(key)
        self._values[key] = value, size
        self.nbytes += size
        while self.nbytes > self.max_bytes:
            self._drop(next(iter(self._values)))

    def clear(self) -> None:
        """Forgets everything."""
        self._values.clear()
        self.nbytes = 0

    def _drop(self, key: Hashable) -> None:
        self.nbytes -= self._values.pop(key, (None, 0))[1]


def nbytes(value: Any) -> int:
    """Bytes of all tensors in a value made of dataclasses, mappings, batches and tuples."""
    if isinstance(value, Tensor):
        return value.nbytes
    if is_dataclass(value):
        return sum(nbytes(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Interaction):
        return sum(nbytes(value[name]) for name in value)
    if isinstance(value, Mapping):
        return sum(map(nbytes, value.values()))
    return sum(map(nbytes, value)) if isinstance(value, tuple | list) else 0
