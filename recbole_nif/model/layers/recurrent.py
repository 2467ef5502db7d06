"""Gated recurrent units over padded histories, and DIEN's three ways to let attention into them.

    r = sigmoid(W_r x + U_r h + b_r) ,   u = sigmoid(W_u x + U_u h + b_u)
    n = tanh(W_n x + b_n + r * U_n h)
    h <- (1 - s u) * h + s u * n                            (DIEN, AAAI 2019, equations 2 to 5)

The scale s of a step is 1 in a GRU and 0 where there is padding, which therefore keeps the state. With the
attention a of a step:

    AIGRU  x is scaled by a
    AGRU   a replaces the update gate: s u becomes a
    AUGRU  s = a
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recbole_nif.errors import UserError
from recbole_nif.model.layers.embedding import pick

ATTENTIONAL = ("AUGRU", "AGRU", "AIGRU")

tanh_backward = torch.ops.aten.tanh_backward  # (gradient, tanh(x)) -> gradient of x, in one pass
sigmoid_backward = torch.ops.aten.sigmoid_backward


class GRU(nn.Module):
    """All states of a gated recurrent unit that starts from zero.

    Args:
        input_size: width D of the inputs.
        hidden_size: width H of the state.
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.input = nn.Linear(input_size, 3 * hidden_size)  # rows: r, u, n
        self.recurrent = nn.Linear(hidden_size, 3 * hidden_size, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x`` [B, L, D], ``mask`` [B, L], True = step -> states [B, L, H]; arbitrary in padding."""
        steps = Steps.of(mask)
        projected = self.input(steps.pack(x))  # [P, 3H]
        states = recur(projected, self.recurrent.weight, steps.pack(mask.to(x.dtype)), steps.counts)
        return steps.unpack(states)


class AttentionalGRU(nn.Module):
    """The last state of a gated recurrent unit that attention drives.

    Args:
        input_size: width D of the inputs.
        hidden_size: width H of the state.
        kind: one of ``ATTENTIONAL``.
    """

    def __init__(self, input_size: int, hidden_size: int, kind: str = "AUGRU"):
        super().__init__()
        if kind not in ATTENTIONAL:
            raise UserError(f"There is no gru_type {kind!r}; choose one of {', '.join(ATTENTIONAL)}.")
        self.kind = kind
        n_gates = 2 if kind == "AGRU" else 3
        self.input = nn.Linear(input_size, n_gates * hidden_size)  # rows: r, u (not AGRU), n
        self.recurrent = nn.Linear(hidden_size, n_gates * hidden_size, bias=False)

    def forward(self, x: Tensor, attention: Tensor, mask: Tensor) -> Tensor:
        """``x`` [B, L, D], ``attention`` [B, L], ``mask`` [B, L], True = step -> [B, H]; empty rows: 0."""
        steps = Steps.of(mask)
        inputs, valid = steps.pack(x), steps.pack(mask.to(x.dtype))  # [P, D], [P]
        scale = steps.pack(attention.to(x.dtype)) * valid
        if self.kind == "AIGRU":
            inputs, scale = inputs * scale.unsqueeze(1), valid
        states = recur(self.input(inputs), self.recurrent.weight, scale, steps.counts)  # [P, H]
        return steps.final(states)


@dataclass(frozen=True)
class Steps:
    """The steps of B sequences in the order of time: the first steps of all, the second steps of all, ...

    On a CPU the longest sequence comes first, and a step holds the ``counts[t]`` sequences that reach it:
    padding, which lies behind them, costs nothing. Elsewhere a step holds all, since finding out how long
    they are would stall the device. P = sum(counts).
    """

    counts: list[int]  # sequences in each step, not increasing
    positions: Tensor  # [P] where a place lies in the flattened [B, L]
    last: Tensor  # [B] the place of each sequence's last step; 0 if it has none
    nonempty: Tensor  # [B] bool
    shape: tuple[int, int]  # B, L

    @classmethod
    def of(cls, mask: Tensor, *, skip_padding: bool | None = None) -> "Steps":
        """``mask`` [B, L]: True where there is a step; padding between steps is a step that waits.

        ``skip_padding`` leaves out the padding behind the steps; None = on a CPU.
        """
        n_rows, n_steps = mask.shape
        row, time = (torch.arange(n, device=mask.device) for n in mask.shape)
        length = (mask * (time + 1)).amax(dim=1)  # [B]
        if mask.is_cpu if skip_padding is None else skip_padding:
            length, row = length.sort(descending=True, stable=True)
            reaches = time.unsqueeze(1) < length  # [L, B]
            count = reaches.sum(dim=1)
            counts = count[count > 0].tolist()
        else:
            reaches = slice(None)
            count = torch.full_like(time, n_rows)
            counts = [n_rows] * n_steps
        begin = count.cumsum(0) - count  # [L]
        end = begin[length - 1] + torch.arange(n_rows, device=mask.device)
        return cls(
            counts=counts,
            positions=(row * n_steps + time.unsqueeze(1))[reaches].reshape(-1),
            last=torch.empty_like(end).index_copy_(0, row, end * (length > 0)),
            nonempty=mask.any(dim=1),
            shape=(n_rows, n_steps),
        )

    def pack(self, x: Tensor) -> Tensor:
        """[B, L, ...] -> [P, ...]."""
        return pick(x.flatten(0, 1), self.positions)

    def unpack(self, x: Tensor) -> Tensor:
        """[P, H] -> [B, L, H], zeros where there is no step."""
        n_rows, n_steps = self.shape
        places = x.new_zeros(n_rows * n_steps, x.shape[1])
        return places.index_copy(0, self.positions, x).view(n_rows, n_steps, -1)

    def final(self, x: Tensor) -> Tensor:
        """[P, H] -> [B, H], each sequence's last; zeros for an empty one."""
        if not self.counts:
            return x.new_zeros(self.shape[0], x.shape[1])
        return x.index_select(0, self.last) * self.nonempty.unsqueeze(1)


def recur(projected: Tensor, weight: Tensor, scale: Tensor, counts: Sequence[int]) -> Tensor:
    """The states after every step, from zero; half precision is computed in float32.

    Args:
        projected: [P, GH], W x + b of the gates r, u, n (G = 3), or of r and n (G = 2, no update gate).
        weight: [GH, H], U of the same gates.
        scale: [P], s of each step, or what replaces the update gate.
        counts: sequences in each step, not increasing; their sum is P.

    Returns:
        [P, H]
    """
    half = (torch.half, torch.bfloat16)
    tensors = (t.float() if t.dtype in half else t for t in (projected, weight, scale))
    with torch.autocast(projected.device.type, enabled=False):
        return _Recurrence.apply(*tensors, counts)


class _Recurrence(torch.autograd.Function):
    """The loop over time and back.

    Written out, since autograd would keep a dozen small tensors for every step. With the gradient g of a
    step's state, those of what the gates are made of are

        dL/dn  = g s u (1 - n^2)                (what tanh takes)
        dL/dr  = dn (U_n h) r (1 - r)           (what sigmoid takes)
        dL/du  = g s (n - h) u (1 - u)
        dL/dh  = g (1 - s u) + dr U_r + du U_u + (dn r) U_n

    Each step works on slices that fit into a processor's cache, which whole [P, H] tensors do not.
    """

    @staticmethod
    def forward(ctx, projected, weight, scale, counts):
        size = weight.shape[1]
        gates = torch.empty_like(projected)  # r, u and n of all steps
        states = projected.new_empty(len(projected), size)
        state = projected.new_zeros(counts[0] if counts else 0, size)
        steps = zip(*(t.split(counts) for t in (projected, scale.unsqueeze(1), gates, states)), strict=True)
        for x, s, gate, after in steps:
            before = state[: len(x)]
            inner = before @ weight.t()  # [count, GH]
            torch.add(x[:, :-size], inner[:, :-size], out=gate[:, :-size]).sigmoid_()
            r, u, n = _named(gate, size)
            torch.addcmul(x[:, -size:], r, inner[:, -size:], out=n).tanh_()
            state = torch.lerp(before, n, s if u is None else s * u, out=after)
        ctx.counts = counts
        ctx.save_for_backward(weight, scale, gates, states)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weight, scale, gates, states = ctx.saved_tensors
        with torch.autocast(grad.device.type, enabled=False):
            return *_walk_back(grad, weight, scale.unsqueeze(1), gates, states, ctx.counts), None


def _walk_back(grad, weight, scale, gates, states, counts) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of ``projected``, ``weight`` and ``scale``; ``grad`` is that of the states."""
    size = weight.shape[1]
    grad_projected, grad_scale = torch.empty_like(gates), torch.empty_like(scale)
    grad_weight = torch.zeros_like(weight)
    start = states.new_zeros(counts[0] if counts else 0, size)
    grad_state = torch.zeros_like(start)  # zero for the sequences that have ended
    befores = [start, *states.split(counts)[:-1]]
    steps = zip(*(t.split(counts) for t in (grad, scale, gates, grad_projected, grad_scale)), strict=True)
    for before, (above, s, gate, grad_gate, grad_s) in reversed(list(zip(befores, steps, strict=False))):
        before = before[: len(gate)]
        g = grad_state[: len(gate)].add_(above)
        r, u, n = _named(gate, size)
        dr, du, last = _named(grad_gate, size)
        su = s if u is None else s * u
        change = g * (n - before)
        dn = tanh_backward(g * su, n)
        torch.mul(dn, r, out=last)  # for the products with U; the input's gradient is dn
        sigmoid_backward(dn * (before @ weight[-size:].t()), r, grad_input=dr)
        if u is not None:
            sigmoid_backward(change * s, u, grad_input=du)
            change *= u
        torch.sum(change, 1, keepdim=True, out=grad_s)
        grad_weight.addmm_(grad_gate.t(), before)
        g.addcmul_(g, su, value=-1).addmm_(grad_gate, weight)
        last.copy_(dn)
    return grad_projected, grad_weight, grad_scale.squeeze(1)


def _named(gates: Tensor, size: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """The columns of r, u (None if there is no update gate) and n."""
    n_gates = gates.shape[1] // size
    return gates[:, :size], gates[:, size:-size] if n_gates > 2 else None, gates[:, -size:]
