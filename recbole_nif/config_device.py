"""Which device a run uses, and its place among the processes of torchrun."""

import os
from dataclasses import dataclass

import torch

from recbole_nif.errors import UserError


@dataclass(frozen=True)
class Place:
    """A process of a run: its device and its number among ``world_size`` processes."""

    device: torch.device
    local_rank: int = 0
    rank: int = 0
    world_size: int = 1


def choose_place(device: str, use_gpu: bool | None, gpu_id: str | int | list | None) -> Place:
    """The device that the configuration asks for; under torchrun also the process group.

    Args:
        device: ``auto`` (CUDA, else MPS, else CPU) or a torch device such as ``cpu``, ``cuda:1``, ``mps``.
        use_gpu: RecBole's key; None = not given, False = CPU, True = there must be a GPU.
        gpu_id: RecBole's key; None = not given, else the CUDA devices that stay visible. Ignored
            under torchrun, where every process takes the GPU of its local rank.

    Raises:
        UserError: a device that does not exist, or keys that contradict each other.
    """
    wanted = str(device or "auto")
    if use_gpu is False:
        if wanted not in ("auto", "cpu"):
            raise UserError(f"use_gpu: False contradicts device: {wanted}: give only one of them.")
        wanted = "cpu"
    if "LOCAL_RANK" in os.environ:
        return _place_under_torchrun(wanted)
    if gpu_id is not None:
        show_only(gpu_id)
    chosen = _best_device() if wanted == "auto" else _existing_device(wanted)
    if use_gpu and chosen.type == "cpu":
        raise UserError("use_gpu is True, but torch sees no GPU here: drop use_gpu or set device: cpu.")
    return Place(chosen)


def show_only(gpu_id: str | int | list) -> None:
    """Hides all other CUDA devices from this process; an empty id hides all."""
    visible = ",".join(str(part) for part in gpu_id) if isinstance(gpu_id, list) else str(gpu_id)
    if torch.cuda.is_initialized() and os.environ.get("CUDA_VISIBLE_DEVICES") != visible:
        raise UserError(f"gpu_id {visible!r} comes too late, CUDA runs already: use device: cuda:<number>.")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible


def _best_device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _existing_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"Unknown device {name!r}: use auto, cpu, cuda, cuda:<number> or mps.") from error
    exists = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not exists.get(device.type, False):
        raise UserError(f"The device {name!r} does not exist on this machine: use device: auto.")
    return device


def _place_under_torchrun(wanted: str) -> Place:
    """The GPU of the local rank, or the CPU; joins the process group (nccl on GPUs, gloo else)."""
    local_rank, world_size = int(os.environ["LOCAL_RANK"]), int(os.environ.get("WORLD_SIZE", "1"))
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        device = torch.device("cpu")
    elif wanted in ("auto", "cuda"):
        device = _existing_device(f"cuda:{local_rank}")
        torch.cuda.set_device(device)
    else:
        raise UserError(f"Under torchrun every process takes the GPU of its rank: drop device: {wanted}.")
    if world_size > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Place(device, local_rank, int(os.environ.get("RANK", "0")), world_size)
