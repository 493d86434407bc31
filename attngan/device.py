"""Where networks run."""

import os
import platform

import torch

from attngan import ranks
from attngan.errors import InputError


def usable_device(name: str | torch.device | None) -> torch.device:
    """The device of this name; None for a GPU if there is one, else the CPU. Of several processes each has its own.

    Raises:
        InputError: There is no such device, or this installation of torch cannot use it.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and ranks.world_size() > 1:
            device = torch.device("cuda", ranks.local_rank())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        told = str(error).partition("\n")[0].partition(". ")[0]
        raise InputError(f"device {str(name)!r} cannot be used ({told}): cpu always can") from error
    return device


def described_machine(name: str | torch.device | None = None) -> str:
    """Processors, GPU and version of torch, of the device of this name; None as for `usable_device`."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = usable_device(name)
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return f"{cpus} CPUs ({platform.machine()}){gpu}, torch {torch.__version__}"
