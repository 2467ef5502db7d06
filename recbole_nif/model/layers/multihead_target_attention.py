"""Multi-head attention of target items over windows of events."""

import torch
from torch import Tensor, nn

from recbole_nif.model.layers.transformer import Attention


class MultiHeadTargetAttention(Attention):
    """Softmax attention of R targets over the window that they share; nothing visible gives zeros.

    Keys and values come from :meth:`keys_values`, once per window. R = 1: a target with its own window.
    An encoded event does not know where a row's past ends: a learned bias per head and distance from
    there tells recent events from old ones. It starts as the slopes of ALiBi (Press et al., ICLR 2022).

    Args:
        width: model width d.
        n_heads: attention heads.
        length: longest window n.
    """

    def __init__(self, *, width: int, n_heads: int, length: int):
        super().__init__(width=width, n_heads=n_heads)
        slope = 0.5 ** torch.arange(1, n_heads + 1).mul(4 / n_heads)  # from recent events to all, by head
        self.recency = nn.Parameter(-slope[:, None] * torch.arange(length))

    def forward(self, targets: Tensor, keys_values: Tensor, visible: Tensor) -> Tensor:
        """targets: [G, R, d]; keys_values: [G, 2, H, n, d/H]; visible: [G, R, n] bool -> [G, R, d]."""
        seen = visible.any(-1, keepdim=True)  # [G, R, 1]
        return super().forward(targets, keys_values, self._mask(visible, seen)) * seen

    def weights(self, targets: Tensor, keys_values: Tensor, visible: Tensor) -> Tensor:
        """The attention weights [G, R, n], the mean of the heads; arguments as in ``forward``."""
        seen = visible.any(-1, keepdim=True)
        return super().weights(targets, keys_values, self._mask(visible, seen)) * seen

    def _mask(self, visible: Tensor, seen: Tensor) -> Tensor:
        """The recency bias [G, H, R, n], -inf where a target may not look."""
        newer = visible.sum(-1, keepdim=True) - visible.cumsum(-1)  # [G, R, n] visible events after each
        # [G, H, R, n]; the gradient of self.recency[:, newer] is summed in another order at each call
        bias = self.recency.index_select(1, newer.flatten()).unflatten(1, newer.shape).transpose(0, 1)
        # Targets that see no event attend to all of them and are zeroed: an empty softmax would be NaN.
        hidden = ~(visible | ~seen).unsqueeze(1)  # [G, 1, R, n]
        return bias.masked_fill(hidden, float("-inf"))
