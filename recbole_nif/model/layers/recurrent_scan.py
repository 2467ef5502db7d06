"""The recurrence of ``recurrent.py`` as one scan over time, for exported graphs: open sizes, no gradient.

``recurrent.py`` loops over time in Python, which a graph would repeat for every step.
"""

from torch import Tensor


def scan_states(projected: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The states after every step, from zero; a step of scale 0 keeps the state.

    Args:
        projected: [B, L, GH], W x + b of the gates r, u, n (G = 3), or of r and n (G = 2, no update gate).
        weight: [GH, H], U of the same gates.
        scale: [B, L], s of each step, or what replaces the update gate.

    Returns:
        [B, L, H]
    """
    from torch._higher_order_ops.scan import scan  # the least version of torch that trains has no such thing

    size = weight.shape[1]

    def step(state: Tensor, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x, s = inputs
        inner = state @ weight.t()  # [B, GH]
        gates = (x[:, :-size] + inner[:, :-size]).sigmoid()
        new = (x[:, -size:] + gates[:, :size] * inner[:, -size:]).tanh()
        change = s * gates[:, size:] if weight.shape[0] == 3 * size else s
        state = state + change * (new - state)
        return state, state.clone()  # a scan's outputs may not be one tensor

    start = projected.new_zeros(projected.shape[0], size)
    steps = projected.transpose(0, 1), scale.t().unsqueeze(-1)  # [L, B, ...]
    return scan(step, start, steps)[1].transpose(0, 1)
