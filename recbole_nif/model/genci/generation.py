"""Beam search over the prefix tree of existing semantic IDs, with cached keys and values."""

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_nif.model.genci.codebook import CodeTokens
from recbole_nif.model.genci.decoder import SharedDecoder, Source
from recbole_nif.semantic_id.trie import PrefixTrie


class Generated(NamedTuple):
    """The W best continuations of N histories, best first; a score of -inf means that there are fewer."""

    codes: Tensor  # [N, W, n_levels] int64
    score: Tensor  # [N, W], sum of log probabilities
    node: Tensor  # [N, W] int64, where they end in the tree; 0 without a tree


@torch.no_grad()
def generate(
    decoder: SharedDecoder,
    tokens: CodeTokens,
    trie: PrefixTrie | None,
    source: Source,
    start: Tensor,
    *,
    n_levels: int,
    n_beams: int = 1,
) -> Generated:
    """The most probable codes of the next item, level by level.

    Without ``trie`` every code may follow every other, as in the official code; then IDs need not exist.

    Args:
        source: what the N histories read.
        start: [N, d], the decoder's first input.
        n_levels: how many levels to decode, at most N.
        n_beams: W; 1 is greedy decoding.
    """
    x = start.unsqueeze(1)  # [N, W, d], first one sequence
    score = x.new_zeros(x.shape[:2])  # [N, W]
    node = torch.zeros_like(score, dtype=torch.long)
    codes = node.new_zeros(*node.shape, 0)  # [N, W, level]
    cache = None
    for level in range(n_levels):
        state, cache = decoder.step(x, source, cache)  # [N, W, d]
        gain = tokens.log_probabilities(state.float(), level)  # [N, W, size]
        size = gain.shape[-1]
        if trie is not None:
            following, allowed = trie.children(node, level)  # [N, W, size]
            gain = gain.masked_fill(~allowed, float("-inf"))
        total = (score.unsqueeze(-1) + gain).flatten(1)  # [N, W * size]
        score, chosen = total.topk(min(n_beams, total.shape[-1]), dim=-1)  # [N, W']
        parent, code = chosen // size, chosen % size
        if trie is not None:
            node = following.flatten(1).gather(1, chosen)
            # a beam that cannot go on keeps its score of -inf, but must stand where the level can be read
            node = torch.where(score > float("-inf"), node, node[..., :1])
        codes = torch.cat([codes.gather(1, _wide(parent, level)), code.unsqueeze(-1)], dim=-1)
        if level + 1 < n_levels:
            x = tokens.embed(code, level)  # [N, W', d]
            if n_beams > 1:
                cache = cache.select(parent)
    return Generated(codes, score, node)


def _wide(index: Tensor, size: int) -> Tensor:
    """[..., W] -> [..., W, size]"""
    return index.unsqueeze(-1).expand(*index.shape, size)
