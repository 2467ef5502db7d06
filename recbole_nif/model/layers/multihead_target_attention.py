"""Multi-head attention of target items over windows of events."""

from torch import Tensor

from recbole_nif.model.layers.transformer import Attention


class MultiHeadTargetAttention(Attention):
    """Softmax attention of R targets over the window that they share; nothing visible gives zeros.

    Keys and values come from :meth:`keys_values`, once per window. R = 1: a target with its own window.
    """

    def forward(self, targets: Tensor, keys_values: Tensor, visible: Tensor) -> Tensor:
        """targets: [G, R, d]; keys_values: [G, 2, H, n, d/H]; visible: [G, R, n] bool -> [G, R, d]."""
        seen = visible.any(-1, keepdim=True)  # [G, R, 1]
        # Targets that see no event attend to all of them and are zeroed: an empty softmax would be NaN.
        return super().forward(targets, keys_values, (visible | ~seen).unsqueeze(1)) * seen
