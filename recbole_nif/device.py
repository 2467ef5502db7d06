"""Moving batches to a device, its random numbers, and its name in reports."""

import platform
from pathlib import Path

import torch
from recbole.data.interaction import Interaction


def to_device(batch: Interaction, device: torch.device) -> Interaction:
    """``batch`` with every field on ``device``; to a CUDA device the copies go on while this process does."""
    if device.type == "cpu":
        return batch
    columns = {name: batch[name] for name in batch}
    if device.type == "cuda":  # pageable memory would be copied while this process waits
        columns = {name: values.pin_memory() if values.is_cpu else values for name, values in columns.items()}
    return Interaction({name: values.to(device, non_blocking=True) for name, values in columns.items()})


def rng_state(device: torch.device) -> dict[str, torch.Tensor]:
    """The state of torch's random numbers on the CPU and on ``device``, as bytes."""
    state = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        state["device"] = torch.get_device_module(device).get_rng_state()
    return state


def set_rng_state(device: torch.device, state: dict[str, torch.Tensor]) -> None:
    """Goes on with the random numbers of ``rng_state``; another kind of device starts with new ones."""
    torch.set_rng_state(state["cpu"])
    if device.type != "cpu" and "device" in state:
        torch.get_device_module(device).set_rng_state(state["device"])


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
