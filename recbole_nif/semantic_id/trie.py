"""Which semantic IDs exist, as a prefix tree, and which items share a code, as cohorts; flat tensors both."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recbole_nif.semantic_id.codes import NO_CODE, SemanticIds
from recbole_nif.tracing import exporting

FEW = 8  # codes are few where there are so many times more cohorts; then only theirs are summed


class _Movable:
    """A dataclass whose tensors go to a device together."""

    def to(self, device):
        """A copy with every tensor on ``device``."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        tensors = {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **tensors)


@dataclass(frozen=True)
class PrefixTrie(_Movable):
    """The existing IDs as a tree, nodes numbered level by level and by code, the root 0.

    So the children of a node follow each other, and a node is told by the code on the edge to it. A leaf's
    depth is N, the number of levels. ``nodes``: all nodes, the root too.
    """

    code: Tensor  # [nodes] int64, the code on the edge to the node; NO_CODE for the root
    first_child: Tensor  # [nodes] int64
    n_children: Tensor  # [nodes] int64, 0 for leaves
    item: Tensor  # [nodes] int64, the item of a leaf; 0 for inner nodes
    sizes: tuple[int, ...]
    most_children: tuple[int, ...]  # of any node, by level
    root: int = 0

    @classmethod
    def build(cls, ids: SemanticIds) -> PrefixTrie:
        """The tree of all items that have an ID; O(items x levels)."""
        items = torch.nonzero(ids.has_id).squeeze(1)
        codes = ids.codes[items]  # [items, N]
        order = torch.from_numpy(np.lexsort(codes.numpy().T[::-1]))
        items, codes = items[order], codes[order]
        edge_codes, n_children, most_children = [torch.tensor([NO_CODE])], [], []
        differs = torch.zeros(len(items), dtype=torch.bool)
        differs[:1] = True  # whether a row's prefix differs from the row's before
        parent, n_parents = torch.zeros(len(items), dtype=torch.long), 1
        for level in range(codes.shape[1]):
            differs[1:] |= codes[1:, level] != codes[:-1, level]
            edge_codes.append(codes[differs, level])
            n_children.append(torch.bincount(parent[differs], minlength=n_parents))
            most_children.append(int(n_children[-1].max()))
            parent = differs.cumsum(0) - 1  # [items], the row's node among those of this level
            n_parents = len(edge_codes[-1])
        n_children.append(torch.zeros(n_parents, dtype=torch.long))  # leaves
        children, code = torch.cat(n_children), torch.cat(edge_codes)
        item = torch.zeros(len(code), dtype=torch.long)
        item[len(code) - len(items) :] = items
        first_child = 1 + children.cumsum(0) - children
        return cls(code, first_child, children, item, tuple(ids.sizes), tuple(most_children))

    def children(self, nodes: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Where each code of ``level`` leads from ``nodes``, which all have that depth (the root's is 0).

        nodes: [...] int64.

        Returns:
            next node [..., sizes[level]] int64, 0 where the code does not lead on; allowed, bool, likewise.
        """
        width = self.sizes[level]
        number = torch.arange(self.most_children[level], device=nodes.device)
        exists = number < self.n_children[nodes].unsqueeze(-1)  # [..., most]
        child = torch.where(exists, self.first_child[nodes].unsqueeze(-1) + number, 0)
        place = torch.where(exists, self.code[child], width)  # what does not exist goes to a column too many
        following = child.new_zeros(*nodes.shape, width + 1).scatter_(-1, place, child)[..., :width]
        return following, following > 0

    def item_of(self, leaves: Tensor) -> Tensor:
        """Item ids of leaves, [...] -> [...]; 0 for other nodes."""
        return self.item[leaves]


@dataclass(frozen=True)
class Cohorts(_Movable):
    """Items by (level, code), all levels but the collision digit; paper 2.2.1: C_n.

    Code c of level n is cohort ``begin[n] + c``; cohort i is ``items[offsets[i] : offsets[i + 1]]``.
    """

    items: Tensor  # [items x (N-1)] int64
    number: Tensor  # [items x (N-1)] int64, the cohort of each entry
    offsets: Tensor  # [cohorts + 1] int64
    begin: Tensor  # [N-1] int64, number of each level's first cohort
    sizes: tuple[int, ...]  # of the levels but the last

    @classmethod
    def build(cls, ids: SemanticIds) -> Cohorts:
        """The cohorts of all items that have an ID; those of codes that no item has are empty."""
        sizes = tuple(ids.sizes[:-1])
        begin = torch.tensor([0, *np.cumsum(sizes[:-1])])
        items = torch.nonzero(ids.has_id).squeeze(1)
        number = (ids.codes[items, :-1] + begin).T.reshape(-1)  # [(N-1) x items]
        order = torch.argsort(number, stable=True)
        offsets = F.pad(torch.bincount(number, minlength=sum(sizes)).cumsum(0), (1, 0))
        return cls(items.repeat(len(sizes))[order], number[order], offsets, begin, sizes)

    @property
    def count(self) -> Tensor:
        """[cohorts] int64, items of each cohort."""
        return self.offsets.diff()

    def mean(self, table: Tensor, level_codes: Tensor, over: str = "count") -> Tensor:
        """Eq. 7: the mean embedding of the items that share each code.

        Every cohort is summed once, whatever the batch, since batches name most of them. Without gradient a
        few codes, such as those of one user, have only their own cohorts summed.

        Args:
            table: [n_items, d], an embedding per item id.
            level_codes: [..., N-1] int64, a code per level; NO_CODE names an empty cohort.
            over: ``count``, the cohort's own size, or ``padded``, the size of the largest cohort, as in the
                official code.

        Returns:
            [..., N-1, d]; zeros for an empty cohort.
        """
        count = self.count
        divisor = count.clamp(min=1) if over == "count" else count.max().clamp(min=1).expand_as(count)
        exists = level_codes != NO_CODE
        number = torch.where(exists, level_codes + self.begin, 0)
        asked = number.reshape(-1)
        if not exporting() and not torch.is_grad_enabled() and FEW * len(asked) <= len(count):
            picked = self._sums_of(asked, table) / divisor[asked].unsqueeze(-1).to(table.dtype)
        else:
            means = self._sums(table) / divisor.unsqueeze(-1).to(table.dtype)  # [cohorts, d]
            picked = means.index_select(0, asked)  # the same sum in any threads
        return picked.view(*number.shape, -1) * exists.unsqueeze(-1)

    def _sums_of(self, cohorts: Tensor, table: Tensor) -> Tensor:
        """Sums of the cohorts [P], [P, d]: their entries are ``place``, those of one cohort in a row."""
        begin, length = self.offsets[cohorts], self.count[cohorts]
        offsets = F.pad(length.cumsum(0), (1, 0))
        place = torch.arange(int(offsets[-1]), device=length.device)
        place += (begin - offsets[:-1]).repeat_interleave(length, output_size=len(place))
        return F.embedding_bag(self.items[place], table, offsets, mode="sum", include_last_offset=True)

    def _sums(self, table: Tensor) -> Tensor:
        if not exporting():
            return F.embedding_bag(self.items, table, self.offsets, mode="sum", include_last_offset=True)
        # in a graph a sum of constants, which is computed once when it is loaded
        return table.new_zeros(sum(self.sizes), table.shape[1]).index_add(0, self.number, table[self.items])
