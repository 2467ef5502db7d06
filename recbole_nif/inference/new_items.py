"""Items that come after training: their features, scenes and codes, and the tables that grow by them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recbole_nif.errors import UserError
from recbole_nif.inference.columns import PADDING, as_cells, as_tokens
from recbole_nif.inference.frames import require
from recbole_nif.inference.row_error import RowError
from recbole_nif.inference.serving_data import ServingData
from recbole_nif.inference.user_log import UserLog
from recbole_nif.model.base import CTRModel
from recbole_nif.model.item_rows import ItemRows
from recbole_nif.semantic_id.build import codes_of_texts
from recbole_nif.semantic_id.codes import NO_CODE, SemanticIds
from recbole_nif.semantic_id.text import Template


@dataclass(frozen=True)
class NewItems:
    """m items.

    Attributes:
        tokens: [m].
        columns: features, name -> [m, ...]; the item id of all is padding.
        scene: [m] scene sets; those that no item of the data has are the empty one.
        semantic_ids: of all items with these behind them, where the model reads them.
    """

    tokens: np.ndarray
    columns: dict[str, Tensor]
    scene: np.ndarray
    semantic_ids: SemanticIds | None

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def read(cls, data: ServingData, frame: pd.DataFrame) -> NewItems:
        """The items of a table that are not known yet, each once.

        Raises:
            UserError: no column of items, or a value that its column cannot hold.
        """
        require(frame, [data.item_field])
        tokens = as_tokens(frame[data.item_field])
        first = ~pd.Series(tokens).duplicated().to_numpy()
        new = first & (data.columns.ids(data.item_field, tokens) == PADDING)
        frame, tokens = frame[new], tokens[new]
        columns = {}
        for name, like in data.items.items():
            if name in frame and name != data.item_field:
                try:
                    columns[name] = data.columns.encode(name, frame[name], like)
                except RowError as error:  # by its place in the whole table
                    raise RowError(np.flatnonzero(new)[error.row], error.problem) from None
            else:
                columns[name] = data.columns.missing(name, len(frame), like)
        return cls(tokens, columns, _scenes(data, columns, len(frame)), _semantic_ids(data, frame))

    def add_to(self, model: nn.Module, data: ServingData, log: UserLog) -> None:
        """Makes the items known to all three.

        Raises:
            UserError: the model has tables by item of its own; nothing has changed then.
        """
        if isinstance(model, CTRModel):
            _check_tables(model, data.n_items)
            device = next(model.parameters()).device
            ids, m = self.semantic_ids, len(self)
            with torch.no_grad():
                model.add_items(
                    ItemRows(
                        columns={name: column.to(device) for name, column in self.columns.items()},
                        scene=torch.from_numpy(self.scene).to(device),
                        codes=None if ids is None else ids.codes[-m:].to(device),
                        code_tokens=None if ids is None else ids.tokens[-m:].to(device),
                    )
                )
        data.semantic_ids = self.semantic_ids
        data.items = {name: torch.cat([column, self.columns[name]]) for name, column in data.items.items()}
        data.columns.extend(data.item_field, self.tokens)
        data.item_clicks = F.pad(data.item_clicks, (0, len(self)))
        last = len(data.item_rank) + np.arange(len(self))
        data.item_rank = log.item_rank = np.concatenate([data.item_rank, last])
        scenes = data.rule.scenes
        item_scene = np.concatenate([scenes.item_scene, self.scene])
        data.rule = replace(data.rule, scenes=replace(scenes, item_scene=item_scene))
        data.names.extend(self.tokens)


def _scenes(data: ServingData, columns: dict[str, Tensor], size: int) -> np.ndarray:
    rule = data.rule.scenes
    if not rule.of_items:
        return np.zeros(size, dtype=np.int64)
    if not rule.fields:
        return np.ones(size, dtype=np.int64)  # all events have the one scene
    return rule.sets([columns[name].numpy() for name in rule.fields])


def _semantic_ids(data: ServingData, frame: pd.DataFrame) -> SemanticIds | None:
    """The codes of all items; new ones without text, or without a quantizer, have none."""
    ids, template = data.semantic_ids, data.config["item_text"]
    if ids is None:
        return None
    codes = torch.full((len(frame), ids.codes.shape[1] - 1), NO_CODE)
    if ids.quantizer is not None and template:
        parsed = Template.parse(template)
        if set(parsed.columns) <= set(frame.columns):
            separator = data.columns.separator
            columns = {name: as_cells(frame[name], separator) for name in parsed.columns}
            cells = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            filled = [place for place, row in enumerate(cells) if any(cell.strip() for cell in row.values())]
            texts = [parsed.render(cells[place], separator) for place in filled]
            if texts:
                codes[filled] = codes_of_texts(data.config, ids.quantizer, texts)
    return ids.add_items(codes)


def _check_tables(model: CTRModel, n_items: int) -> None:
    """Raises a UserError where a model that does not say how has tables by item beside its features."""
    if type(model).add_items is not CTRModel.add_items:
        return
    own = [
        name
        for name, table in [*model.named_parameters(), *model.named_buffers()]
        if not name.startswith("features.") and table.ndim and len(table) == n_items
    ]
    if own:
        raise UserError(
            f"{type(model).__name__} has a table by item, {own[0]}, which does not grow: override add_items."
        )
