"""Moving batches to a device and naming the device in reports."""

import platform
from pathlib import Path

import torch
from recbole.data.interaction import Interaction


def to_device(batch: Interaction, device: torch.device) -> Interaction:
    """``batch`` with every field on ``device``, copied asynchronously where the memory is pinned."""
    if device.type == "cpu":
        return batch
    return Interaction({name: batch[name].to(device, non_blocking=True) for name in batch})


def device_name(device: torch.device) -> str:
    """The product name of a GPU or CPU, as far as the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if device.type == "cpu" and cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return f"{device.type} {platform.processor() or platform.machine()}"
