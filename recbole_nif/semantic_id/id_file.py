"""Reads ``*.sem_ids.json``: one JSON object, item token -> list of whole numbers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from recbole_nif.errors import UserError

FORM = 'a JSON object such as {"item token": [12, 7, 255, 0], …}'


def read_lists(path: Path) -> dict[str, list[int]]:
    """Codes by item token, of one length, each list of one item only.

    Raises:
        UserError: no file, another format, lists of different lengths, an item or an ID that is there twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lists = json.loads(text, object_pairs_hook=lambda pairs: _once(path, pairs))
    except OSError as error:
        raise UserError(f"Cannot read semantic_ids {path}: {error.strerror}.") from None
    except ValueError:  # of JSON and of UTF-8
        raise UserError(f"semantic_ids {path} is not {FORM}.") from None
    if not isinstance(lists, dict) or not lists:
        raise UserError(f"semantic_ids {path} is not {FORM}.")
    for token, codes in lists.items():
        if not isinstance(codes, list) or not all(type(code) is int and code >= 0 for code in codes):
            raise UserError(f"{path}: the codes of item {token!r} are not a list of whole numbers from 0 on.")
    (length, _), *others = Counter(map(len, lists.values())).most_common()
    if others:
        token = next(token for token, codes in lists.items() if len(codes) != length)
        raise UserError(
            f"{path}: item {token!r} has {len(lists[token])} codes, but most items have {length}: every item "
            f"needs the same number."
        )
    if length < 2:
        raise UserError(f"{path}: items have {length} codes, but need at least 2, a level and the digit.")
    owner: dict[tuple[int, ...], str] = {}
    for token, codes in lists.items():
        other = owner.setdefault(tuple(codes), token)
        if other != token:
            raise UserError(
                f"{path}: items {other!r} and {token!r} have the same codes {codes}: the last code must tell "
                f"items apart that share the others."
            )
    return lists


def _once(path: Path, pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of ``pairs``; JSON lets a name occur twice, of which all but the last would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        token = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UserError(f"{path} names item {token!r} twice: remove one.")
    return found
