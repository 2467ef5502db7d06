"""The semantic IDs of all items, the digit that tells equal ones apart, and their file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_nif.errors import UserError
from recbole_nif.files import written_whole
from recbole_nif.semantic_id.id_file import read_lists
from recbole_nif.semantic_id.quantizer_file import FittedQuantizer

NO_CODE = -1
SIZE = 256  # codes per level and collision digits of the paper
SHOWN = 5  # names that a message lists
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SemanticIds:
    """N codes per item; the last level is the collision digit, the number of an item among equal ones.

    codes: [n_items, N] int64, level n's code in 0..sizes[n]-1; NO_CODE in all levels for the padding item
        (row 0) and for items without an ID.
    sizes: codes per level.
    facts: plain values for result.json.
    quantizer: what gives further items their codes, where it is known.
    """

    codes: Tensor
    sizes: tuple[int, ...]
    facts: dict = field(default_factory=dict)
    quantizer: FittedQuantizer | None = None

    @classmethod
    def with_digit(cls, codes: Tensor, sizes: Sequence[int], digits: int = SIZE) -> SemanticIds:
        """IDs from the quantizer's codes alone, [n_items, N-1]; the digit is the order among equal rows.

        Raises:
            UserError: more than ``digits`` items share all codes.
        """
        if (codes[:1] != NO_CODE).any():
            raise ValueError("row 0 is the padding item and has no codes")
        padding = torch.full((1, codes.shape[1] + 1), NO_CODE)
        return cls(padding, (*sizes, digits)).add_items(codes[1:])

    def add_items(self, codes: Tensor) -> SemanticIds:
        """IDs with further items behind the present ones, which keep theirs.

        codes: [m, N-1] int64, all levels but the digit, which goes on counting; NO_CODE for an item without.

        Raises:
            UserError: more items share all codes than there are digits.
        """
        together = torch.cat([self.codes[:, :-1], codes])
        _, group = torch.unique(together, dim=0, return_inverse=True)  # [n_items + m], equal rows share one
        present, added = group[: len(self.codes)], group[len(self.codes) :]
        free = torch.zeros_like(group).scatter_reduce(0, present, self.codes[:, -1] + 1, "amax")
        digit = torch.where(codes[:, 0] == NO_CODE, NO_CODE, free[added] + order_among_equals(added))  # [m]
        if len(codes) and int(digit.max()) >= self.sizes[-1]:
            raise UserError(
                f"{int(digit.max()) + 1} items share all of their codes, but the collision digit tells only "
                f"{self.sizes[-1]} apart: give item_text more fields, or raise codebook_size, code_levels or "
                f"collision_codes."
            )
        new = torch.cat([codes, digit[:, None]], dim=1)
        return replace(self, codes=torch.cat([self.codes, new]))

    @property
    def n_tokens(self) -> int:
        """Tokens of a vocabulary in which every level has its own: 0 and one per code."""
        return 1 + sum(self.sizes)

    @property
    def tokens(self) -> Tensor:
        """[n_items, N] int64: 1 + the sizes of the levels before + code; 0 where there is no code."""
        begin = torch.tensor([0, *np.cumsum(self.sizes[:-1])])
        return torch.where(self.codes == NO_CODE, 0, 1 + begin + self.codes)

    @property
    def has_id(self) -> Tensor:
        """[n_items] bool."""
        return self.codes[:, 0] != NO_CODE

    @classmethod
    def read(
        cls,
        path: str | Path,
        item_tokens: Sequence[str],
        size: int = SIZE,
        digits: int = SIZE,
        encode: Callable[[list[int], int], Tensor] | None = None,
    ) -> SemanticIds:
        """A ``*.sem_ids.json`` file: item token -> list of codes, the last one the collision digit.

        A level whose codes all lie below its least size is taken as it is. Any other is counted from its
        smallest code, so that files that count from 1 or on from level to level are read too.

        Args:
            path: the file.
            item_tokens: [n_items], the token of every item id; the first is the padding item's.
            size: least number of codes of a level; digits: the same of the collision digit.
            encode: gives items that the file lacks their codes: (item ids [m], levels) -> [m, levels] int64,
                to which a digit is added that no item of the file has; None = they are a mistake.

        Raises:
            UserError: no such file, another format, lists of different lengths, an ID that two items share,
                items of the dataset that are not in the file.
        """
        path, lists = Path(path), read_lists(Path(path))
        missing = [row for row, token in enumerate(item_tokens) if row and token not in lists]
        strangers = sorted(lists.keys() - set(item_tokens[1:]))
        if missing and (encode is None or len(strangers) == len(lists)):
            names = sorted(item_tokens[row] for row in missing)
            raise UserError(_mismatch(path, names, strangers, len(lists) - len(strangers)))
        if strangers:
            logger.warning("%s has %s that the dataset has not.", path, _some(strangers, "items"))
        codes = torch.tensor(list(lists.values()))  # [items of the file, N]
        least = torch.tensor([size] * (codes.shape[1] - 1) + [digits])
        low, high = codes.min(0).values, codes.max(0).values
        codes = codes - torch.where(high < least, 0, low)
        sizes = tuple(torch.maximum(codes.max(0).values + 1, least).tolist())
        ids = cls(F.pad(codes, (0, 0, 1, 0), value=NO_CODE), sizes)
        if missing:
            logger.info("%d items that %s lacks get IDs by its quantizer", len(missing), path)
            ids = ids.add_items(encode(missing, len(sizes) - 1))
        place = {token: number for number, token in enumerate(lists, start=1)}  # in ids.codes; 0 = padding
        added = iter(range(1 + len(lists), len(ids.codes)))
        order = [0, *(place.get(token) or next(added) for token in item_tokens[1:])]
        facts = {"source": path.name, "items_of_the_file_only": len(strangers), "items_added": len(missing)}
        return replace(ids, codes=ids.codes[order], facts=facts)

    def write(self, path: str | Path, item_tokens: Sequence[str]) -> None:
        """Writes the file that :meth:`read` reads, whole or not at all."""
        rows = zip(item_tokens, self.codes.tolist(), self.has_id.tolist(), strict=True)
        lines = [f"{json.dumps(str(token))}: {codes}" for token, codes, has_id in rows if has_id]
        with written_whole(Path(path)) as temporary:
            temporary.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


def order_among_equals(values: Tensor) -> Tensor:
    """How many earlier values equal each value: [n] -> [n] int64."""
    order = torch.argsort(values, stable=True)
    ordered = values[order]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(values)) - torch.searchsorted(ordered, ordered)  # where its equals begin
    return rank


def _mismatch(path: Path, missing: list[str], strangers: list[str], n_known: int) -> str:
    """One sentence about both directions."""
    if not n_known:
        return (
            f"{path} knows none of the dataset's items: it names items such as {strangers[0]!r}, the dataset "
            f"such as {missing[0]!r}; use the file of this form of the dataset."
        )
    also = f", and names {_some(strangers, 'items')} that the dataset has not" if strangers else ""
    return (
        f"{path} lacks {_some(missing, 'items')} of the dataset{also}: add them, filter them out, or remove "
        f"semantic_ids to make IDs from the items' texts."
    )


def _some(names: list[str], noun: str) -> str:
    """A count and the first few names."""
    more = ", …" if len(names) > SHOWN else ""
    return f"{len(names)} {noun} ({', '.join(map(repr, names[:SHOWN]))}{more})"
