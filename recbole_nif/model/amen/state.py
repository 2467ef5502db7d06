"""What AMEN passes between its steps: the user before any candidate, the candidates, what was read."""

from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import Tensor

from recbole_nif.model.base import UserState


@dataclass(frozen=True)
class Snapshot:
    """The moveline as S rows see it. Windows are shared by rows, so U <= S."""

    scene_memory: Tensor | None  # keys and values [U, 2, H, n, d/H] of the scene space
    item_memory: Tensor | None  # and of the item space
    window: Tensor  # [S] int64, the window of each row
    visible: Tensor  # [S, n] bool
    gap: Tensor  # [S] int64
    flow: Tensor | None  # [S, K, d] raw

    @property
    def n_windows(self) -> int:
        """U, where a space has a memory."""
        return (self.item_memory if self.scene_memory is None else self.scene_memory).shape[0]

    def select(self, rows: Tensor) -> "Snapshot":
        """The snapshots of ``rows`` [N]; windows stay shared."""
        flow = None if self.flow is None else self.flow.index_select(0, rows)
        window, visible, gap = (t.index_select(0, rows) for t in (self.window, self.visible, self.gap))
        return replace(self, window=window, visible=visible, gap=gap, flow=flow)


@dataclass(frozen=True)
class AMENState(UserState):
    """A user as AMEN sees one before any candidate."""

    history: Tensor  # [H, L, item_dim]
    mask: Tensor  # [H, L] bool
    moveline: Snapshot
    history_of: Tensor | None = None  # [S] int64, the history of each state; None = its own, H = S

    def select(self, rows: Tensor | None) -> "AMENState":
        if rows is None:
            return self
        of = rows if self.history_of is None else self.history_of.index_select(0, rows)
        user, moveline = self.user.index_select(0, rows), self.moveline.select(rows)
        return AMENState(user, self.history, self.mask, moveline, of)


class Target(NamedTuple):
    """Candidates in every space that needs them, [N, ...]; None for spaces that are switched off."""

    features: Tensor  # E_v [N, item_dim]
    vector: Tensor  # W_e e_v, in the space of the flow
    scene: Tensor | None  # v^S
    item: Tensor | None  # W_v e_v
    stage1: Tensor | None  # y_v, the item vector of stage 1 itself

    def select(self, rows: Tensor) -> "Target":
        return Target(*(None if t is None else t.index_select(0, rows) for t in self))


class Reading(NamedTuple):
    """What a snapshot says of a target, [N, ...]; None for what is switched off."""

    scene: Tensor | None  # c^S
    item: Tensor | None  # c^I
    flow: Tensor | None  # c^F
    match: Tensor | None  # q^F
    summary: Tensor | None  # sum_k g_k fb_k

    def without_flow(self, hidden: Tensor) -> "Reading":
        """The same with c^F and q^F at 0 in the rows that are ``hidden``, [N, 1] bool."""
        return self._replace(flow=self.flow.masked_fill(hidden, 0), match=self.match.masked_fill(hidden, 0))


class Meeting(NamedTuple):
    """Users and candidates brought together."""

    features: Tensor  # [N, inputs] what the network on top reads
    reading: Reading  # what of the moveline is in it
