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
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from recbole_nif.errors import UserError
from recbole_nif.model.layers.embedding import pick
from recbole_nif.model.layers.recurrent_scan import scan_states
from recbole_nif.tracing import exporting

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
        if exporting():
            return scan_states(self.input(x), self.recurrent.weight, mask.to(x.dtype))
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

    def forward(self, x: Tensor, attention: Tensor, mask: Tensor, window: Tensor | None = None) -> Tensor:
        """``x`` [B, L, D], ``attention`` [B, L], ``mask`` [B, L], True = step -> [B, H]; empty rows: 0.

        With ``window`` [B] int64 sequence b reads window ``window[b]`` of ``x`` [U, L, D].
        """
        if exporting():
            return self._scanned(x, attention, mask, window)
        steps = Steps.of(mask)
        valid = steps.pack(mask.to(x.dtype))  # [P]
        scale = steps.pack(attention.to(x.dtype)) * valid
        if window is not None and self.kind != "AIGRU":  # W x is the same for all that read x
            projected, places = self.input(x.flatten(0, 1)), steps.places(window)  # [U * L, GH], [P]
        else:
            inputs, places = steps.pack(x if window is None else x.index_select(0, window)), None  # [P, D]
            if self.kind == "AIGRU":
                inputs, scale = inputs * scale.unsqueeze(1), valid
            projected = self.input(inputs)  # [P, GH]
        states = recur(projected, self.recurrent.weight, scale, steps.counts, places)  # [P, H]
        return steps.final(states)

    def _scanned(self, x: Tensor, attention: Tensor, mask: Tensor, window: Tensor | None) -> Tensor:
        """The same for an exported graph."""
        scale = attention.to(x.dtype) * mask  # [B, L]
        if self.kind == "AIGRU":
            x = x if window is None else x.index_select(0, window)
            x, scale = x * scale.unsqueeze(2), mask.to(x.dtype)
            projected = self.input(x)  # [B, L, GH]
        else:
            projected = self.input(x)
            projected = projected if window is None else projected.index_select(0, window)
        # padding keeps the state: the last one is that of the last step, and 0 without any
        return scan_states(projected, self.recurrent.weight, scale)[:, -1]


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

    def places(self, window: Tensor) -> Tensor:
        """Where each step lies in flattened windows [U, L] of which sequence b reads ``window[b]``; [P]."""
        row, time = self.positions // self.shape[1], self.positions % self.shape[1]
        return window.index_select(0, row) * self.shape[1] + time

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


def recur(
    projected: Tensor, weight: Tensor, scale: Tensor, counts: Sequence[int], places: Tensor | None = None
) -> Tensor:
    """The states after every step, from zero; half precision is computed in float32.

    Args:
        projected: [V, GH], W x + b of the gates r, u, n (G = 3), or of r and n (G = 2, no update gate).
        weight: [GH, H], U of the same gates.
        scale: [P], s of each step, or what replaces the update gate.
        counts: sequences in each step, not increasing; their sum is P.
        places: [P] int64, which of ``projected`` each step reads; None = one after the other (V = P).

    Returns:
        [P, H]
    """
    half = (torch.half, torch.bfloat16)
    tensors = (t.float() if t.dtype in half else t for t in (projected, weight, scale))
    with torch.autocast(projected.device.type, enabled=False):
        return _Recurrence.apply(*tensors, counts, places)


class _Recurrence(torch.autograd.Function):
    """The loop over time and back.

    Written out, since autograd would keep a dozen small tensors for every step. With the gradient g of a
    step's state, those of what the gates are made of are

        dL/dn  = g s u (1 - n^2)                (what tanh takes)
        dL/dr  = dn (U_n h) r (1 - r)           (what sigmoid takes)
        dL/du  = g s (n - h) u (1 - u)
        dL/dh  = g (1 - s u) + dr U_r + du U_u + (dn r) U_n

    Each step works on slices that fit into a processor's cache, which whole [P, H] tensors do not: it gathers
    its own inputs from ``projected`` and adds its own gradients there. Its gates lie one behind the other,
    [G, count, H], since what is contiguous is computed faster.
    """

    @staticmethod
    def forward(ctx, projected, weight, scale, counts, places):
        size = weight.shape[1]
        inputs = projected.unflatten(1, (-1, size)).transpose(0, 1)  # [G, V, H]
        if places is None:
            inputs = inputs.split(counts, dim=1)
        else:
            inputs = map(partial(inputs.contiguous().index_select, 1), places.split(counts))
        recurrent = weight.unflatten(0, (-1, size)).transpose(1, 2)  # [G, H, H]
        gates = projected.new_empty(len(scale) * len(weight))  # r, u and n of all steps
        states = projected.new_empty(len(scale), size)
        state, buffer = projected.new_zeros(2, counts[0] if counts else 0, size)
        steps = zip(
            inputs,
            scale.unsqueeze(1).split(counts),
            _blocks(gates, counts, len(recurrent)),
            states.split(counts),
            strict=True,
        )
        for x, s, gate, after in steps:
            before, inner = state[: len(s)], buffer[: len(s)]
            r, *u, n = gate.unbind()
            torch.mm(before, recurrent[-1], out=inner)
            all_before = before.expand(len(gate) - 1, -1, -1)
            torch.baddbmm(x[:-1], all_before, recurrent[:-1], out=gate[:-1]).sigmoid_()
            torch.addcmul(x[-1], r, inner, out=n).tanh_()
            state = torch.lerp(before, n, torch.mul(s, u[0], out=inner) if u else s, out=after)
        ctx.counts, ctx.n_projected = counts, len(projected)
        ctx.save_for_backward(weight, scale, gates, states, places)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weight, scale, gates, states, places = ctx.saved_tensors
        counts, size = ctx.counts, weight.shape[1]
        grad_projected = grad.new_zeros(ctx.n_projected, len(weight))
        if places is None:
            grad_gates, places = grad_projected.split(counts), [None] * len(counts)
        else:
            buffer = grad.new_empty(counts[0] if counts else 0, len(weight))
            grad_gates, places = [buffer[:count] for count in counts], places.split(counts)
        grad_scale, grad_weight = torch.empty_like(scale), torch.zeros_like(weight)
        start = states.new_zeros(counts[0] if counts else 0, size)
        grad_state = torch.zeros_like(start)  # zero for the sequences that have ended
        steps = zip(
            grad.split(counts),
            scale.unsqueeze(1).split(counts),
            _blocks(gates, counts, len(weight) // size),
            [start, *states.split(counts)][: len(counts)],
            grad_gates,
            grad_scale.unsqueeze(1).split(counts),
            places,
            strict=True,
        )
        with torch.autocast(grad.device.type, enabled=False):
            for above, s, gate, before, grad_gate, grad_s, place in reversed(list(steps)):
                g, before = grad_state[: len(s)].add_(above), before[: len(s)]
                _step_back(g, weight, s, gate, before, grad_weight, grad_gate, grad_s)
                if place is not None:
                    grad_projected.index_add_(0, place, grad_gate)
        return grad_projected, grad_weight, grad_scale, None, None


def _step_back(g, weight, s, gate, before, grad_weight, grad_gate, grad_s) -> None:
    """One step: turns ``g`` into the gradient of the state ``before``, writes or adds to the others."""
    size = weight.shape[1]
    r, *u, n = gate.unbind()
    dr, *du, last = grad_gate.split(size, dim=1)
    su = s * u[0] if u else s
    change = (n - before).mul_(g)
    dn = tanh_backward(g * su, n)
    sigmoid_backward((before @ weight[-size:].t()).mul_(dn), r, grad_input=dr)
    if u:
        sigmoid_backward(change * s, u[0], grad_input=du[0])
        change.mul_(u[0])
    torch.sum(change, 1, keepdim=True, out=grad_s)
    torch.mul(dn, r, out=last)  # for the products with U; the input's gradient is dn
    grad_weight.addmm_(grad_gate.t(), before)
    g.addcmul_(g, su, value=-1).addmm_(grad_gate, weight)
    last.copy_(dn)


def _blocks(gates: Tensor, counts: Sequence[int], n_gates: int) -> list[Tensor]:
    """What each step holds of the flat ``gates``, [G, count, H]."""
    width = gates.numel() // max(1, sum(counts))
    return [
        block.view(n_gates, n, -1)
        for block, n in zip(gates.split([width * n for n in counts]), counts, strict=True)
    ]
