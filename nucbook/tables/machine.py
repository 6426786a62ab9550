"""What ran a run: the device, in words that name no machine, and the versions."""

from __future__ import annotations

import os
import platform
from functools import cache

import torch
import torchvision

from nucbook import __version__
from nucbook.training.prepare import device


@cache
def device_name() -> str:
    """The accelerator's model, or how many CPU cores this process may use."""
    where = device()
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return f"cpu, {cores()} cores" if where.type == "cpu" else where.type


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def versions() -> dict[str, str]:
    """Of nucbook, torch, torchvision, python."""
    return {
        "nucbook": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
    }
