"""Mistakes in the ``source`` of a dataset config, each told in one sentence; see ``data/sources.py``."""

from collections.abc import Collection, Mapping
from typing import Any

from recbole_nif.config_keys import did_you_mean
from recbole_nif.errors import UserError

OF_EVERY_ENTRY = {"path": str, "converter": str, "options": Mapping, "raw_rows": int, "item_token": str}
OF_SOURCE = {"homepage": str, "expected": Mapping, "try": list, **OF_EVERY_ENTRY}
OF_ENTRY = {
    "kind": str, "dataset": str, "package": str, "version": str, "sha256": str, "members": Mapping,
    "url": str, "files": Mapping, **OF_EVERY_ENTRY,
}  # fmt: skip
NEEDED = {
    "raw": ("files",),
    "download": ("url", "members"),
    "wheel": ("package", "version", "members", "sha256"),
}
WORDS = {str: "text", int: "a whole number", list: "a list", Mapping: "a mapping"}


def check_source(name: str, source: Any) -> None:
    """Refuses unknown keys and wrong kinds of values.

    Raises:
        UserError: what is wrong, and where.
    """
    _check_mapping(f"source of {name}", source, OF_SOURCE)
    for entry in source.get("try") or []:
        _check_mapping(f"source.try of {name}", entry, OF_ENTRY)


def check_entry(name: str, entry: Mapping[str, Any]) -> None:
    """Refuses an entry, with the keys that all share, whose files and options do not fit.

    Raises:
        UserError: what is wrong, and where.
    """
    files, options = entry.get("files"), entry.get("options", {})
    missing = [key for key in NEEDED.get(entry["kind"], ()) if not entry.get(key)]
    if missing:
        raise UserError(f"source.try of {name}: kind {entry['kind']} wants {', '.join(missing)}.")
    for role, value in (files or {}).items():
        several = value if isinstance(value, list) and value else [value]
        if not all(isinstance(file, str) for file in several):
            raise UserError(f"source of {name}: files.{role} must be the name of a file, or a list of names.")
    if entry.get("converter") == "csv_columns":
        _check_columns(name, (files or entry.get("members") or {}).keys(), options)


def _check_columns(name: str, roles: Collection[str], options: Mapping[str, Any]) -> None:
    """The options of ``csv_columns``: for each file which column becomes which field."""
    if set(roles) != set(options):
        raise UserError(
            f"source of {name}: converter csv_columns wants the same names under files and options, but "
            f"files has {', '.join(roles) or 'none'} and options has {', '.join(options) or 'none'}."
        )
    for role, columns in options.items():
        if not isinstance(columns, Mapping) or not all(isinstance(field, str) for field in columns.values()):
            raise UserError(
                f"source of {name}: options.{role} must say which column becomes which field, such as "
                "{user: user_id:token}."
            )


def _check_mapping(place: str, values: Any, kinds: Mapping[str, type]) -> None:
    if not isinstance(values, Mapping):
        raise UserError(f"{place} must be a mapping such as {{kind: raw, files: …}}, but it is {values!r}.")
    for key, value in values.items():
        if key not in kinds:
            hint = did_you_mean(str(key), kinds)
            raise UserError(f"{place} has no key {key!r}{hint} There are: {', '.join(kinds)}.")
        wrong = not isinstance(value, kinds[key]) or isinstance(value, bool)
        if value is not None and wrong:
            raise UserError(f"{place}: {key} must be {WORDS[kinds[key]]}, but it is {value!r}.")
