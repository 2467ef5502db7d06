"""From decoder states to codes and back: the token embedding, its use as output layer, next-token loss."""

from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_nif.errors import UserError
from recbole_nif.model.layers.embedding import lookup


def cohort_numbers(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    """A number of its own for every sequence of codes, [..., M] -> [...]; NO_CODE counts as a code.

    sizes: codes of each of the M levels.

    Raises:
        UserError: there are more sequences than whole numbers.
    """
    place = list(accumulate((size + 1 for size in sizes), mul, initial=1))
    if place[-1] >= 2**63:
        raise UserError(
            f"Semantic IDs of {len(sizes)} levels with {max(sizes)} codes have too many cohorts to tell "
            "apart: use fewer code_levels or a smaller codebook_size."
        )
    return ((codes + 1) * torch.tensor(place[:-1], device=codes.device)).sum(-1)


class CodeTokens(nn.Module):
    """The vocabulary of T5 here: token 0 (padding and decoder start), then the codes of each level.

    Input and output embeddings are one table, as T5 has it; outputs are scaled by 1 / sqrt(d).

    Args:
        table: [n_tokens, d] embedding.
        sizes: codes per level.
        softmax_over: what Eq. 2 normalizes over: "level", the codes that can stand at that place, or "all"
            tokens, as T5's own loss in the official code.
    """

    def __init__(self, table: nn.Embedding, sizes: tuple[int, ...], *, softmax_over: Literal["level", "all"]):
        super().__init__()
        self.table, self.sizes, self.softmax_over = table, sizes, softmax_over
        self.begin = [1 + sum(sizes[:level]) for level in range(len(sizes))]

    def start(self, n_rows: int) -> Tensor:
        """The embedding of the decoder's start token, [n_rows, d]."""
        return self.table.weight[0].expand(n_rows, -1)

    def embed(self, codes: Tensor, level: int) -> Tensor:
        """Codes [...] of a level -> [..., d]."""
        return lookup(self.table.weight, self.begin[level] + codes)

    def log_probabilities(self, states: Tensor, level: int) -> Tensor:
        """log P(c_n | history, c_1 .. c_{n-1}) of all codes of the level: [..., d] -> [..., sizes[level]]."""
        own = slice(self.begin[level], self.begin[level] + self.sizes[level])
        if self.softmax_over == "level":
            return self._logits(states, own).log_softmax(-1)
        return self._logits(states, slice(None)).log_softmax(-1)[..., own]

    def loss(self, states: Tensor, codes: Tensor, weight: Tensor | None = None) -> Tensor:
        """Eq. 2: mean cross-entropy over rows and levels.

        states: of teacher forcing [P, N, d]; codes: [P, N]; weight: [P], None = all rows count.
        """
        losses = torch.zeros(len(codes), device=codes.device)
        for level in range(len(self.sizes)):
            if self.softmax_over == "level":
                own, shift = slice(self.begin[level], self.begin[level] + self.sizes[level]), 0
            else:
                own, shift = slice(None), self.begin[level]
            logits = self._logits(states[:, level], own).float()
            losses = losses + F.cross_entropy(logits, codes[:, level] + shift, reduction="none")
        if weight is None:
            return losses.sum() / max(1, codes.numel())
        return (losses * weight).sum() / (weight.sum() * codes.shape[1]).clamp_min(1)

    def _logits(self, states: Tensor, tokens: slice) -> Tensor:
        return states @ self.table.weight[tokens].T * self.table.embedding_dim**-0.5
