"""How batches come to a device; no GPU is needed."""

import torch
from recbole.data.interaction import Interaction

from recbole_nif.device import to_device


def test_a_batch_for_the_cpu_is_left_alone():
    batch = Interaction({"item_id": torch.arange(3)})
    assert to_device(batch, torch.device("cpu")) is batch


def test_a_batch_for_a_gpu_is_pinned_and_copied_without_waiting(monkeypatch):
    pinned, moved = [], []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self.tolist()) or self + 10)

    def copy(self, device, non_blocking=False):
        moved.append((self.tolist(), device, non_blocking))
        return self

    monkeypatch.setattr(torch.Tensor, "to", copy)
    device = torch.device("cuda")
    to_device(Interaction({"user_id": torch.tensor([1]), "item_id": torch.tensor([2])}), device)
    assert pinned == [[1], [2]]
    assert moved == [([11], device, True), ([12], device, True)]
