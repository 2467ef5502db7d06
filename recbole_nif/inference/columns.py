"""From values as a user's files have them to what models read: ids, id lists, numbers with their buckets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from recbole.utils import FeatureType
from torch import Tensor

from recbole_nif.errors import UserError
from recbole_nif.inference.row_error import RowError

PADDING = 0  # id of what is missing or unknown


@dataclass(frozen=True)
class NumberRule:
    """How RecBole stored the numbers of a column: scaled, or cut into buckets.

    raw: [n] ascending, each value of the data once; stored: [n, 2], its pair (value, bucket).
    cut: whether the bucket depends on the value; else the value does, linearly.
    mean: of the rows of the data.
    """

    raw: np.ndarray
    stored: np.ndarray
    cut: bool
    mean: float

    @classmethod
    def of(cls, raw: np.ndarray, stored: np.ndarray) -> NumberRule:
        """The rule that made ``stored`` [n, 2] of ``raw`` [n]."""
        values, place = np.unique(raw, return_index=True)
        return cls(values, stored[place], len(np.unique(stored[:, 1])) > 1, float(raw.mean()))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """[N] -> [N, 2]; a missing value (NaN) becomes the mean, as in RecBole."""
        values = np.where(np.isnan(values), self.mean, values)
        if self.cut:
            place = np.searchsorted(self.raw, values, side="right") - 1
            return self.stored[place.clip(min=0)]
        low, high = self.stored[[0, -1], 0]
        width = self.raw[-1] - self.raw[0]
        scaled = low + (values - self.raw[0]) / (width or 1) * (high - low)
        return np.stack([scaled, np.full(len(values), self.stored[0, 1])], axis=1)


class Columns:
    """What is known of the columns of a dataset, by name.

    Args:
        kinds: type of each column.
        tokens: column -> [n] tokens by id, the first of which is padding; token and token_seq columns.
        numbers: rules of the numerical features.
        separator: what separates the tokens of a sequence in one cell.
    """

    def __init__(
        self,
        *,
        kinds: Mapping[str, FeatureType],
        tokens: Mapping[str, Sequence[str]],
        numbers: Mapping[str, NumberRule],
        separator: str,
    ):
        self.kinds, self.numbers, self.separator = dict(kinds), dict(numbers), separator
        self.tokens = {name: np.asarray(values).astype(str) for name, values in tokens.items()}
        self._ids = {name: pd.Index(values.astype(object)) for name, values in self.tokens.items()}

    @classmethod
    def of_dataset(cls, dataset) -> Columns:
        """The columns of a built ``CTRDataset``."""
        token_like = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
        kinds = {name: kind for name, kind in dataset.field2type.items() if name in _columns_of(dataset)}
        stored = {name: table[name] for table in _tables(dataset) for name in table.columns}
        return cls(
            kinds=kinds,
            tokens={name: dataset.field2id_token[name] for name, kind in kinds.items() if kind in token_like},
            numbers={
                name: NumberRule.of(raw, stored[name].numpy())
                for name, raw in dataset.raw_numbers.items()
                if name in stored
            },
            separator=dataset.config["seq_separator"],
        )

    def ids(self, name: str, values: Iterable) -> np.ndarray:
        """Ids of tokens, [N] int64; ``PADDING`` for unknown and missing ones."""
        return self._ids[name].get_indexer(as_tokens(values)).clip(min=PADDING)

    def extend(self, name: str, tokens: Sequence[str]) -> None:
        """Gives further tokens the next ids."""
        self.tokens[name] = np.concatenate([self.tokens[name], np.asarray(tokens, dtype=str)])
        self._ids[name] = pd.Index(self.tokens[name].astype(object))

    def encode(self, name: str, values: Sequence, like: Tensor) -> Tensor:
        """A column as models read it.

        Args:
            values: [N]; a cell of a token_seq column is a list of tokens or a text with separators.
            like: a column of the dataset of that name, whose type and width the result has.

        Returns:
            [N] ids, [N, S] ids, or [N, 2] numbers and buckets.

        Raises:
            UserError: a value that is no number where one is needed, or a column of number sequences.
        """
        kind = self.kinds[name]
        if kind == FeatureType.TOKEN:
            return torch.from_numpy(self.ids(name, values))
        if kind == FeatureType.TOKEN_SEQ:
            return torch.from_numpy(self._sets(name, values, like.shape[1]))
        if kind == FeatureType.FLOAT_SEQ:
            raise UserError(f"Column {name} holds number sequences, which no request can give: leave it out.")
        numbers = as_numbers(values, name)
        coded = self.numbers[name](numbers) if name in self.numbers else numbers
        return torch.from_numpy(coded).to(like.dtype)

    def missing(self, name: str, size: int, like: Tensor) -> Tensor:
        """What stands in a column of ``size`` rows where nothing is given: padding, or the mean."""
        if name in self.numbers:
            return self.encode(name, np.full(size, np.nan), like)
        return like.new_zeros(size, *like.shape[1:])

    def _sets(self, name: str, values: Sequence, width: int) -> np.ndarray:
        lists = [self._parts(cell)[:width] for cell in values]
        ids = self.ids(name, [token for parts in lists for token in parts])
        sets = np.zeros((len(lists), width), dtype=np.int64)
        sets[np.arange(width) < np.array([len(parts) for parts in lists])[:, None]] = ids
        return sets

    def _parts(self, cell) -> list:
        if isinstance(cell, str):
            return [part for part in cell.split(self.separator) if part]
        if isinstance(cell, Iterable):
            return list(cell)
        return [] if pd.isna(cell) else [cell]


def as_tokens(values: Iterable) -> np.ndarray:
    """Tokens as text, [N] objects: a whole number counts as it is written, a missing value as empty.

    1 and 1.0 are both the token "1": a missing value among numbers makes floats of them all.
    """
    series = _series(values)
    if pd.api.types.is_integer_dtype(series.dtype):
        return series.astype(str).to_numpy(dtype=object)
    if pd.api.types.infer_dtype(series, skipna=False) == "string":
        return series.to_numpy(dtype=object)
    return np.array([_token(value) for value in series], dtype=object)


def as_cells(values: Iterable, separator: str) -> list[str]:
    """Values as a file of the data would write them: tokens as in ``as_tokens``, those of a list joined."""
    return [
        _token(value) if isinstance(value, str) or not isinstance(value, Iterable)
        else separator.join(map(_token, value))
        for value in values
    ]  # fmt: skip


def _token(value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return "" if not isinstance(value, Iterable) and pd.isna(value) else str(value)


def as_numbers(values: Sequence, name: str) -> np.ndarray:
    """[N] numbers, whole ones as int64 so that times stay exact; NaN where a value is missing.

    Raises:
        UserError: a value that is no number, or one that is infinite or too large.
    """
    series = _series(values)
    if series.dtype == object:
        series = series.where(series.notna() & (series != ""), None)
    try:
        numbers = pd.to_numeric(series, errors="coerce")
    except OverflowError:  # a whole number beyond all floats; as text it is read as none
        numbers = pd.to_numeric(series.astype(str).where(series.notna(), None), errors="coerce")
    unsigned = pd.api.types.is_unsigned_integer_dtype(numbers.dtype)
    wrong = (numbers.isna() & series.notna()) | np.isinf(numbers.astype(float))
    if unsigned:
        wrong |= numbers > np.iinfo(np.int64).max
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        remedy = "number below 2**63" if unsigned else "finite number"
        raise RowError(row, f"{name} is {series.iloc[row]!r}: give a {remedy}.")
    numbers = numbers.to_numpy()
    return numbers.astype(np.int64 if np.issubdtype(numbers.dtype, np.integer) else np.float64)


def _series(values: Iterable) -> pd.Series:
    values = values if isinstance(values, np.ndarray | pd.Series) else list(values)
    try:
        return pd.Series(values)
    except OverflowError:  # among numbers, a whole one beyond all floats
        return pd.Series(values, dtype=object)


def _tables(dataset):
    features = (dataset.user_feat, dataset.item_feat)
    return [dataset.all_rows, *(table for table in features if table is not None)]


def _columns_of(dataset) -> set[str]:
    ids = {dataset.uid_field, dataset.iid_field}
    return ids.union(*(table.columns for table in _tables(dataset)))
