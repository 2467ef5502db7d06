"""Reading rows of a view: their own columns, the features of user and item, and what the log says."""

from __future__ import annotations

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_nif.data import fields


class RowReader:
    """What a view of labelled rows on an event log reads; for classes that have RecBole's attributes.

    Attributes:
        inter_feat: the view's rows, ``ROW_ID`` among their columns.
        all_rows: the columns of every row of the log by row id; before they are there, ``inter_feat``.
        user_feat, item_feat: features by id, or None; uid_field, iid_field: the columns of ids.
        history: the :class:`HistoryReader` of the log.
    """

    def __getitem__(self, index, join: bool = True) -> Interaction:
        """The rows of this view at ``index`` with joined features and the fields that the model needs."""
        index = torch.as_tensor(index) if not isinstance(index, slice) else torch.arange(len(self))[index]
        rows = self.inter_feat[fields.ROW_ID][index.reshape(-1)]
        return self.read(rows) if join else self._rows_of(rows)

    def read(self, rows: Tensor) -> Interaction:
        """A batch of rows by row id: features of user, item and context, and histories.

        rows: [B] int64.
        """
        batch = self._rows_of(rows)
        for feature, key in ((self.user_feat, self.uid_field), (self.item_feat, self.iid_field)):
            if feature is not None:
                ids = batch[key]
                for name in feature.columns:
                    batch[name] = feature[name].index_select(0, ids)
        self.history.add(batch, rows)
        return batch

    def _rows_of(self, rows: Tensor) -> Interaction:
        source = self.all_rows if hasattr(self, "all_rows") else self.inter_feat
        return Interaction({name: source[name].index_select(0, rows) for name in source.columns})
