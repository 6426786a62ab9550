"""What ran a run: the device, in words that name no machine, and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path

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
    """Of nucbook, torch, torchvision, python; and the checkout's commit, "+" where files were changed."""
    found = {
        "nucbook": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
    }
    with suppress(OSError, subprocess.SubprocessError):  # installed without its repository
        changed = _git("status", "--porcelain", "--untracked-files=no")
        found["commit"] = _git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    return found


def _git(*command: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *command], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
