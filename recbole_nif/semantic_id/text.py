"""One text per item, from a template over the columns of the dataset's .item file.

The columns are read beside RecBole, so that a title or a description that only serves as text does not
become a feature of the models. A template is text with columns in braces, such as

    {movie_title}[ ({release_year})][. Genres: {genre:list}]

``{column}`` stands for the cell as it is, ``{column:list}`` for its parts with commas between them. What
stands in brackets is left out where one of its columns is empty; outside of brackets an empty column leaves
nothing behind.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole_nif.data.validation import AtomicFile
from recbole_nif.errors import UserError

_GROUP = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")
_SLOT = re.compile(r"\{(\w+)(:list)?\}")
SHOWN = 3  # items that a message lists
NO_TEXT = "set text_encoder: features, or semantic_ids to a file of IDs"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Template:
    """A template taken apart: (text with slots, whether it stands in brackets) in order."""

    groups: tuple[tuple[str, bool], ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """
        Raises:
            UserError: brackets or braces that do not match, or no column at all.
        """
        if _GROUP.sub("", text):
            raise UserError(f"item_text {text!r} has brackets that do not match, or brackets in brackets.")
        groups = tuple((m[2] or m[1] or "", m[2] is None) for m in _GROUP.finditer(text))
        if any(sign in _SLOT.sub("", group) for group, _ in groups for sign in "{}"):
            raise UserError(f"item_text {text!r}: write columns as {{column}} or {{column:list}}.")
        template = cls(groups)
        if not template.columns:
            raise UserError(f"item_text {text!r} names no column: write at least one in braces.")
        return template

    @property
    def columns(self) -> list[str]:
        """The columns it names, in order."""
        return list(dict.fromkeys(name for group, _ in self.groups for name, _ in _SLOT.findall(group)))

    def render(self, cells: Mapping[str, str], separator: str = " ") -> str:
        """The text for one item's ``cells``; ``separator``: between the parts of a list in a cell."""

        def fill(slot: re.Match) -> str:
            cell = cells[slot[1]].strip()
            return ", ".join(filter(None, cell.split(separator))) if slot[2] else cell

        shown = (
            _SLOT.sub(fill, group)
            for group, optional in self.groups
            if not optional or all(cells[name].strip() for name, _ in _SLOT.findall(group))
        )
        return " ".join("".join(shown).split())


def item_texts(config, dataset) -> list[str]:
    """The text of every item id by ``item_text``, [n_items]; empty for the padding item.

    An item that the file lacks, or whose columns are all empty, gets an empty text, which is told.

    Raises:
        UserError: no template, one that does not fit the file, or no item with a text.
    """
    if not config["item_text"]:
        raise UserError(
            f"{config['dataset']} has no item_text: give a template over its .item file, {NO_TEXT}."
        )
    template = Template.parse(config["item_text"])
    file = AtomicFile.of(Path(dataset.dataset_path, f"{dataset.dataset_name}.item"), config)
    file.require([dataset.iid_field], "ITEM_ID_FIELD")
    file.require(template.columns, "item_text")
    file.check_lines()
    item_tokens = dataset.field2id_token[dataset.iid_field]
    cells = file.cells([dataset.iid_field, *template.columns])
    ids = cells[dataset.iid_field]
    rows = {token: row for row, token in enumerate(ids)}
    texts = [""]
    for token in item_tokens[1:]:
        row = rows.get(str(token))
        one = {name: "" if row is None else cells[name][row] for name in template.columns}
        has_any = any(cell.strip() for cell in one.values())
        texts.append(template.render(one, file.seq_separator) if has_any else "")
    _tell_empty(texts, item_tokens, config["item_text"])
    return texts


def _tell_empty(texts: Sequence[str], item_tokens: Sequence[str], template: str) -> None:
    empty = [str(token) for token, text in zip(item_tokens[1:], texts[1:], strict=True) if not text]
    if len(empty) == len(texts) - 1:
        raise UserError(
            f"No item has a text by item_text {template!r}: name columns that are filled, {NO_TEXT}."
        )
    if empty:
        logger.warning(
            "%d items have no text by item_text (%s%s): they share all codes but the collision digit.",
            len(empty), ", ".join(empty[:SHOWN]), ", …" if len(empty) > SHOWN else "",
        )  # fmt: skip
