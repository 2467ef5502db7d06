"""Interest cohorts and the two attentions that turn them into the short-term intent (Eq. 7 to 9)."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from recbole_nif.model.genci.history_encoder import EncodedHistories
from recbole_nif.model.genci.on_device import OnDevice
from recbole_nif.model.layers.row_groups import RowGroups
from recbole_nif.model.layers.transformer import Attention
from recbole_nif.semantic_id.trie import Cohorts


class ShortTermIntent(nn.Module):
    """H_STI: what the cohorts of the generated codes say of a candidate.

        E_C^n = mean of the items that share the generated code of level n          (7)
        E_R   = attention(E_C, H_enc)       cohorts refined by the history           (8)
        H_STI = attention(e_v, E_R)         read by the candidate                    (9)

    Items and candidates are embedded by a table of their own, which is neither T5's nor that of the features
    (as in the official code). The forms of Figure 3: "mean" is the mean of E_C, whatever the candidate;
    "target" is (9) on E_C. Attention has an output projection, as in the official code.

    Args:
        items: e_v, [n_items, d] embedding.
        cohorts: which items share a code.
        form: hierarchical, mean or target.
        width, n_heads, dropout: of the attention; ``shared``: one for (8) and (9), else each has its own.
        group_size: rows of one window that attend together.
        over: ``count`` divides by a cohort's own size, ``padded`` by that of the largest one.
        detach: whether the click loss leaves the items of the cohorts alone.
    """

    def __init__(
        self,
        *,
        items: nn.Embedding,
        cohorts: Cohorts,
        form: Literal["hierarchical", "mean", "target"],
        width: int,
        n_heads: int,
        dropout: float,
        shared: bool,
        group_size: int,
        over: Literal["count", "padded"],
        detach: bool,
    ):
        super().__init__()
        self.items, self.cohorts, self.form = items, OnDevice(cohorts), form
        self.group_size, self.over, self.detach = group_size, over, detach
        self.read = self.refine = None
        if form != "mean":
            self.read = Attention(width=width, n_heads=n_heads, dropout=dropout)
        if form == "hierarchical":
            own = Attention(width=width, n_heads=n_heads, dropout=dropout)
            self.refine = self.read if shared else own

    def forward(self, codes: Tensor, encoded: EncodedHistories, window: Tensor) -> Tensor:
        """What does not depend on a candidate.

        Args:
            codes: [H, N-1] int64, generated for each history.
            encoded: the H histories; window: [H], the window of each.

        Returns:
            Keys and values of E_R (of E_C in form "target") [H, 2, heads, N-1, d/heads]; in form "mean"
            H_STI itself, [H, d].
        """
        table = self.items.weight.detach() if self.detach else self.items.weight
        cohorts = self.cohorts.table.mean(table, codes, over=self.over)  # E_C [H, N-1, d]
        if self.form == "mean":
            return cohorts.mean(1)
        if self.form == "hierarchical":
            cohorts = self._refined(cohorts, encoded, window)  # E_R
        return self.read.keys_values(cohorts)

    def _refined(self, cohorts: Tensor, encoded: EncodedHistories, window: Tensor) -> Tensor:
        """Eq. 8; E_C [H, N-1, d] -> E_R [H, N-1, d]."""
        return self._with_history(self.refine, cohorts, encoded, window)

    def history_weights(self, codes: Tensor, encoded: EncodedHistories, window: Tensor) -> Tensor:
        """How much each cohort reads of each position in Eq. 8: [H, N-1, S]; arguments as in ``forward``."""
        cohorts = self.cohorts.table.mean(self.items.weight, codes, over=self.over)
        return self._with_history(self.refine.weights, cohorts, encoded, window)

    def _with_history(
        self, attention: Callable[..., Tensor], cohorts: Tensor, encoded: EncodedHistories, window: Tensor
    ) -> Tensor:
        """``attention`` of E_C [H, N-1, d] to H_enc -> [H, N-1, ...]."""
        groups = RowGroups.of(window, encoded.states.shape[0], self.group_size)
        memory = self.refine.keys_values(encoded.states).index_select(0, groups.window)
        visible = groups.spread(encoded.visible)  # [G, R, S]
        visible = visible | ~visible.any(-1, keepdim=True)  # an empty softmax would be NaN
        n_levels = cohorts.shape[1]
        mask = visible.repeat_interleave(n_levels, dim=1).unsqueeze(1)  # [G, 1, R(N-1), S]
        attended = attention(groups.spread(cohorts).flatten(1, 2), memory, mask)
        return groups.collect(attended.unflatten(1, (-1, n_levels)))

    def score_items(self, items: Tensor, intent: Tensor) -> Tensor:
        """Eq. 9: items [N] and the ``intent`` of the history of each, from :meth:`forward` -> [N, d]."""
        if self.form == "mean":
            return intent
        return self.read(self.items(items).unsqueeze(1), intent, None).squeeze(1)

    def level_weights(self, items: Tensor, intent: Tensor) -> Tensor | None:
        """How much each candidate reads of each level in Eq. 9, [N, N-1]; None in form "mean"."""
        if self.form == "mean":
            return None
        return self.read.weights(self.items(items).unsqueeze(1), intent, None).squeeze(1)
