"""Tables made of plain tensors that follow a module to its device."""

import torch
from torch import nn


class OnDevice(nn.Module):
    """Holds ``table``, anything with ``to(device)``, where the module is; not saved with the weights."""

    def __init__(self, table):
        super().__init__()
        self.table = table
        self.register_buffer("place", torch.empty(0), persistent=False)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.table = self.table.to(self.place.device)
        return self
