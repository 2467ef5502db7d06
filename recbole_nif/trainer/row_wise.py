"""``learner: sparse_adam``: of large tables, Adam reads and writes only the rows that a batch looked up."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

MANY_ROWS = 2**19  # of smaller tables all rows at once take no longer (51,200 lookups a step, two cores)

Rows = dict[nn.Parameter, Tensor]


class RowWiseAdam:
    """torch's ``SparseAdam`` for the embedding tables of a module that have many rows, ``Adam`` for the rest.

    Weights and moments of a row change in the steps that look it up (lazy Adam), and its L2 penalty is that
    of these steps: the regularization of a mini-batch of DIN's paper (KDD 2018), without its division by how
    often a row occurs. It is used as an optimizer, after ``looked_up``.

    Args:
        module: its large ``nn.Embedding``s get sparse gradients from now on.
        groups: optimizer groups, each with ``params``, ``lr`` and ``weight_decay``.
        many_rows: how many rows make a table large.
        build_dense: groups -> the optimizer of all other parameters.
    """

    def __init__(
        self,
        module: nn.Module,
        groups: list[dict],
        many_rows: int,
        build_dense: Callable[[list[dict]], torch.optim.Optimizer],
    ):
        embeddings = [part for part in module.modules() if isinstance(part, nn.Embedding)]
        large = {part.weight: part for part in embeddings if part.num_embeddings >= many_rows}
        tables = [_only(group, lambda weight: weight in large) for group in groups]
        rest = [_only(group, lambda weight: weight not in large) for group in groups]
        self.decay = {weight: group["weight_decay"] for group in tables for weight in group["params"]}
        for weight in self.decay:
            large[weight].sparse = True
        sparse = [{"params": group["params"], "lr": group["lr"]} for group in tables if group["params"]]
        self.parts = [torch.optim.SparseAdam(sparse)] if sparse else []
        dense = [group for group in rest if group["params"]]
        self.parts += [build_dense(dense)] if dense else []

    @property
    def tables(self) -> list[nn.Parameter]:
        """The weights of the large tables."""
        return list(self.decay)

    @property
    def param_groups(self) -> list[dict]:
        """Those of both optimizers, for the gradient scaler."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    @torch.no_grad()
    def looked_up(self) -> Rows:
        """Brings gradients of tables into a row each, and tells which rows they have, [m] int64."""
        rows = {}
        for table in self.decay:
            if table.grad is None:
                continue
            # a table that is read in another way than by lookup has a dense gradient
            table.grad = (table.grad if table.grad.is_sparse else table.grad.to_sparse(1)).coalesce()
            rows[table] = table.grad.indices()[0]
        return rows

    @torch.no_grad()
    def step(self) -> None:
        """One step of both."""
        for table, decay in self.decay.items():
            if decay and table.grad is not None:
                gradient = table.grad
                gradient.values().add_(table.index_select(0, gradient.indices()[0]), alpha=decay)
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict:
        """Plain values and tensors."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from ``state``."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def _only(group: dict, wanted: Callable[[nn.Parameter], bool]) -> dict:
    return group | {"params": [weight for weight in group["params"] if wanted(weight)]}
