"""What is computed otherwise in an exported graph, where sizes follow from sizes alone."""

import torch
from torch import Tensor


def exporting() -> bool:
    """Whether torch.export traces this call."""
    return getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()  # torch 2.6 has only these


def may_wait(x: Tensor) -> bool:
    """Whether shapes may depend on the values of ``x``: on a CPU, where reading them costs nothing.

    Elsewhere that would stall the device, and a graph cannot do it.
    """
    return x.is_cpu and not exporting()
