"""Tensors on disk: whole or not there. Written aside, synced, renamed; nothing executes when they are read.

A safetensors file keeps tensors, and texts in its header; a checksum of the tensors is one of them.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


class DamagedFile(ValueError):
    """A file that is not what was written; the message is the reason, for the caller to say more."""


def write_aside(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> Path:
    """Write a file beside `path` and wait until the disk has it; returns where, to be renamed with `put`.

    Tensors may share memory, have any layout and live on any device. Raises OSError where the disk
    is full; nothing is left behind then.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return write_bytes_aside(path, save(tensors, {**texts, "checksum": checksum(tensors)}))


def write_bytes_aside(path: Path, content: bytes) -> Path:
    """The same for any content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.writing")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return aside


def put(aside: Path, path: Path):
    """Give a file that was written aside its name, and wait until the disk has that too."""
    os.replace(aside, path)
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot sync a folder
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and texts of a file of `write_aside`; raises DamagedFile for any other and for a broken one."""
    try:
        with safe_open(path, framework="pt") as file:
            texts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFile(f"not a whole file ({error})") from error
    if texts.pop("checksum", None) != checksum(tensors):
        raise DamagedFile("its content is damaged (checksum differs)")
    return tensors, texts


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """8 hex digits over names, types, shapes and values of contiguous CPU tensors."""
    value = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        if tensor.numel():
            value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"
