"""Items that a trained model is to score as well: the rows by which its tables grow."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ItemRows:
    """m items, whose ids come behind those of training in this order; on the model's device.

    Attributes:
        columns: features, name -> [m, ...]; the item id is padding, so that no vector of its own is read.
        scene: [m] int64, scene sets.
        codes: [m, N] int64 semantic codes, negative without; None where the model reads none.
        code_tokens: [m, N] int64, the same as tokens that differ between levels; 0 without.
    """

    columns: Mapping[str, Tensor]
    scene: Tensor
    codes: Tensor | None = None
    code_tokens: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scene)
