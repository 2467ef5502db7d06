"""The two homogeneous spaces in which a target meets the moveline (reconstruction of arXiv 2411.11502).

Scene space brings the target item to the scenes, item space brings the scene events to the items. Both
end in a multi-head target attention whose query also knows the time since the row's last event.
"""

from collections.abc import Callable

from torch import Tensor, nn

from recbole_nif.data.fields import GAP_BUCKETS
from recbole_nif.model.layers.embedding import SetEmbedding
from recbole_nif.model.layers.multihead_target_attention import MultiHeadTargetAttention
from recbole_nif.model.layers.row_groups import RowGroups

MAX_MIXTURE = 2000  # scenes; beyond, a softmax over all of them costs more than it says


class SceneSpace(nn.Module):
    """v^S: the target as a mixture of scenes; c^S: what the moveline says of it.

        a_v = softmax_s((W_q e_v) . (W_k E_S[s]) / sqrt(d)),   v^S = W_o (a_v E_S),   c^S = MHTA(v^S, M)

    With more than ``MAX_MIXTURE`` scenes v^S = W_o e_S(scene set of the target).

    Args:
        item_dim: width of the target's features e_v.
        scene_dim: width of E_S; n_scenes: its rows.
        width, n_heads: of the attention; length: longest window.
    """

    def __init__(
        self, *, item_dim: int, scene_dim: int, n_scenes: int, width: int, n_heads: int, length: int
    ):
        super().__init__()
        self.mixture = n_scenes <= MAX_MIXTURE
        if self.mixture:
            self.query = nn.Linear(item_dim, width)
            self.key = nn.Linear(scene_dim, width)
        self.output = nn.Linear(scene_dim, width)
        self.gap = nn.Embedding(GAP_BUCKETS, width)
        self.attention = MultiHeadTargetAttention(width=width, n_heads=n_heads, length=length)

    def target(self, features: Tensor, scenes: SetEmbedding, item_scene: Tensor) -> Tensor:
        """features: e_v [N, item_dim]; item_scene: the targets' scene sets [N] -> v^S [N, d]."""
        if not self.mixture:
            return self.output(scenes(item_scene))
        table = scenes.table.weight[1:]  # [N_S, scene_dim], without padding
        scores = self.query(features) @ self.key(table).T / self.key.out_features**0.5
        return self.output(scores.softmax(-1) @ table)

    def memory(self, encoded: Tensor) -> Tensor:
        """Encoded windows M [U, n, d] -> keys and values [U, 2, H, n, d/H]."""
        return self.attention.keys_values(encoded)

    def forward(
        self, target: Tensor, gap: Tensor, memory: Tensor, visible: Tensor, groups: RowGroups
    ) -> Tensor:
        """target: v^S [N, d]; gap: [N]; memory: [U, ...]; visible: [G, R, n], of ``groups`` -> c^S [N, d]."""
        return _attend(self.attention, target + self.gap(gap), memory, visible, groups)

    def weights(
        self, target: Tensor, gap: Tensor, memory: Tensor, visible: Tensor, groups: RowGroups
    ) -> Tensor:
        """How much c^S is made of each event, [N, n]; arguments as in ``forward``."""
        return _attend(self.attention.weights, target + self.gap(gap), memory, visible, groups)


class ItemSpace(nn.Module):
    """c^I: what the moveline says of the target, with scene events lifted to items.

        h^I_j = W_si M_j + W_ii e_I(i_j),   c^I = MHTA(W_v e_v, h^I)

    Args: as :class:`SceneSpace`; embedding_size: width of E_I.
    """

    def __init__(self, *, item_dim: int, embedding_size: int, width: int, n_heads: int, length: int):
        super().__init__()
        self.from_scene = nn.Linear(width, width)
        self.from_item = nn.Linear(embedding_size, width, bias=False)
        self.target = nn.Linear(item_dim, width)
        self.gap = nn.Embedding(GAP_BUCKETS, width)
        self.attention = MultiHeadTargetAttention(width=width, n_heads=n_heads, length=length)

    def memory(self, encoded: Tensor, items: Tensor) -> Tensor:
        """encoded: M [U, n, d]; items: e_I of the events [U, n, d_e] -> keys and values [U, 2, H, n, d/H]."""
        return self.attention.keys_values(self.from_scene(encoded) + self.from_item(items))

    def forward(
        self, target: Tensor, gap: Tensor, memory: Tensor, visible: Tensor, groups: RowGroups
    ) -> Tensor:
        """target: W_v e_v [N, d]; the rest as in :class:`SceneSpace` -> c^I [N, d]."""
        return _attend(self.attention, target + self.gap(gap), memory, visible, groups)

    def weights(
        self, target: Tensor, gap: Tensor, memory: Tensor, visible: Tensor, groups: RowGroups
    ) -> Tensor:
        """How much c^I is made of each event, [N, n]; arguments as in ``forward``."""
        return _attend(self.attention.weights, target + self.gap(gap), memory, visible, groups)


def _attend(
    attention: Callable[..., Tensor], queries: Tensor, memory: Tensor, visible: Tensor, groups: RowGroups
) -> Tensor:
    attended = attention(groups.spread(queries), memory.index_select(0, groups.window), visible)  # [G, R, …]
    return groups.collect(attended)
