"""What a model can tell of why it scored rows as it did; asked for after training, never in a step of it."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from torch import Tensor


class Attention(NamedTuple):
    """How much each of the last events that a row sees says of its candidate.

    The row's event j, oldest first, is the (length - j)-th from the end of what ``EventLog.visible`` gives.
    """

    name: str
    events: Literal["history", "moveline"]  # of which kind they are
    weight: Tensor  # [B, L]
    length: Tensor  # [B] int64, how many places are events; the others are padding on the right


class Flow(NamedTuple):
    """The generated next interest flow, and all items in the same space."""

    vectors: Tensor  # [B, K, d] of length 1
    items: Tensor  # [n_items, d] of length 1
    weight: Tensor  # [B, K] how much the candidate reads of each, summing to 1


class Cohorts(NamedTuple):
    """Generated codes, and what the candidate reads of the items that share them."""

    codes: Tensor  # [B, N-1] int64
    weight: Tensor | None  # [B, N-1], summing to 1; None where the candidate does not weigh them
    item_codes: Tensor  # [n_items, N-1] int64 of the items in cohorts, negative for one without codes
    own: Tensor  # [B, N-1] int64, the candidate's codes


@dataclass(frozen=True)
class Explanation:
    """The parts that a model has, for B rows.

    attentions: ways in which it weighs past events; flow, cohorts: what it generates.
    vectors: name -> [B, d], vectors of one space that are worth a picture.
    """

    attentions: tuple[Attention, ...] = ()
    flow: Flow | None = None
    cohorts: Cohorts | None = None
    vectors: dict[str, Tensor] = field(default_factory=dict)
