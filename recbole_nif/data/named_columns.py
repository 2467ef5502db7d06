"""Whether the columns that a configuration names exist and have the type that their use needs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recbole.utils import FeatureType

from recbole_nif.errors import UserError

TOKENS = (FeatureType.TOKEN, FeatureType.TOKEN_SEQ)
NUMBERS = (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
ANY = (*TOKENS, *NUMBERS)

# Keys that hold one column, a list of columns or a mapping by column.
COLUMNS_OF_KEYS = {
    "val_interval": ANY,
    "normalize_field": NUMBERS,
    "numerical_features": NUMBERS,
    "discretization": NUMBERS,
    "alias_of_user_id": TOKENS,
    "alias_of_item_id": TOKENS,
}


def check_files(name: str, folder: Path, config) -> None:
    """Raises a UserError for the first file that the configuration names and that is not there.

    RecBole leaves a missing .user or .item file out without a word.
    """
    benchmark, columns = config["benchmark_filename"] or [], config["load_col"] or {"inter": "*"}
    asked = {f"{part}.inter": "benchmark_filename" for part in benchmark}
    asked |= {suffix: "load_col" for suffix in ("inter", "user", "item") if columns.get(suffix)}
    asked |= dict.fromkeys(config["additional_feat_suffix"] or [], "additional_feat_suffix")
    if benchmark:
        asked.pop("inter", None)  # its parts are read instead
    for suffix, key in asked.items():
        path = folder / f"{name}.{suffix}"
        if not path.is_file():
            raise UserError(f"{path} does not exist, but {key} names it: add the file, or change {key}.")


def check_columns(dataset) -> None:
    """Checks every key that names columns against what has been loaded.

    Raises:
        UserError: a column that is not loaded, or of a type that RecBole would misread.
    """
    config = dataset.config
    for key in ("USER_ID_FIELD", "ITEM_ID_FIELD"):
        _check(dataset, key, [config[key]], (FeatureType.TOKEN,))
    loaded = [key for key in ("TIME_FIELD", "RATING_FIELD") if config[key] in dataset.inter_feat]
    threshold = config["threshold"]
    if threshold is None and config["LABEL_FIELD"] in dataset.inter_feat:
        loaded.append("LABEL_FIELD")
    for key in loaded:
        _check(dataset, key, [config[key]], (FeatureType.FLOAT,))
    if threshold is not None:
        if len(threshold) != 1:
            raise UserError(f"threshold is {threshold}: name one column, such as {{rating: 4}}.")
        _check(dataset, "threshold", threshold, (FeatureType.FLOAT,))
        name = next(iter(threshold))
        if name not in dataset.inter_feat:
            raise UserError(f"threshold names {name!r}, which is in no .inter file: name a column of it.")
    for key, types in COLUMNS_OF_KEYS.items():
        _check(dataset, key, config[key] or (), types)
    for name, interval in (config["val_interval"] or {}).items():
        kind = dataset.field2type[name]
        if isinstance(interval, list) == (kind in NUMBERS):
            form = 'an interval such as "[1,5]"' if kind in NUMBERS else "a list of tokens"
            raise UserError(f"val_interval.{name} is {interval!r}: a {kind.value} column takes {form}.")


def _check(dataset, key: str, names: Iterable[str], types: tuple[FeatureType, ...]) -> None:
    for name in names:
        found = dataset.field2type.get(name)
        if found is None:
            raise UserError(
                f"{key} names {name!r}, which is not a loaded column of {dataset.dataset_name}: add it to "
                f"load_col, or name one of {', '.join(dataset.field2type)}."
            )
        if found not in types:
            wanted = " or ".join(kind.value for kind in types)
            raise UserError(
                f"{key} names {name!r}, a {found.value} column of {dataset.dataset_name}: its header must "
                f"say {wanted}."
            )
