"""Checkpoints that survive a crash: written aside, synced, renamed, the previous one kept.

One safetensors file holds everything: the tensors, and as JSON in its header the rest. So one
rename makes a checkpoint whole, and nothing executes when it is read.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

LATEST, PREVIOUS = "latest.safetensors", "previous.safetensors"


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used; the message names the file, the reason, the way out."""


Tensors = dict[str, Tensor]
Rest = dict[str, Any]


def save(folder: str | Path, tensors: Mapping[str, Tensor], rest: Rest, identity: Mapping[str, str]):
    """Write a checkpoint into `folder`; the one before it stays as `previous.safetensors`.

    rest     : anything JSON can hold.
    identity : what the run is, part by part; `load` refuses a checkpoint of another run.

    Raises OSError where it cannot be written (disk full); the checkpoints that were there stay as they were.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {
        "identity": json.dumps(dict(identity)),
        "rest": json.dumps(rest),
        "checksum": checksum(tensors),
    }
    aside = folder / "writing.safetensors"
    try:
        write_synced(aside, to_bytes(tensors, metadata=header))
        if (folder / LATEST).exists():
            os.replace(folder / LATEST, folder / PREVIOUS)
        os.replace(aside, folder / LATEST)
        sync_folder(folder)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"checkpoint not written ({error.strerror}); the earlier ones are intact: "
            "free some space and start again, it resumes there",
            str(folder / LATEST),
        ) from error


def load(folder: str | Path, identity: Mapping[str, str]) -> tuple[Tensors, Rest] | None:
    """The newest usable checkpoint of this run as (tensors, rest), or None where there is none yet.

    Where the latest is damaged it warns and takes the previous one; raises BadCheckpoint
    where both are unusable.
    """
    first: BadCheckpoint | None = None
    for name in (LATEST, PREVIOUS):
        path = Path(folder) / name
        if not path.exists():                   # a crash between the two renames leaves only the previous
            continue
        try:
            found = _read(path, identity)
        except BadCheckpoint as error:
            first = first or error
            continue
        if first is not None:
            warnings.warn(f"{first} Going on from {path.name} instead.", stacklevel=2)
        return found
    if first is not None:
        raise first
    return None


def _read(path: Path, identity: Mapping[str, str]) -> tuple[Tensors, Rest]:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        made_by, rest = json.loads(header["identity"]), json.loads(header["rest"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"{path}: not a whole checkpoint ({error}); delete it to start anew.") from error
    if header.get("checksum") != checksum(tensors):
        raise BadCheckpoint(f"{path}: its content is damaged (checksum differs); delete it to start anew.")
    other = sorted(key for key in {*made_by, *identity} if made_by.get(key) != identity.get(key))
    if other:
        raise BadCheckpoint(
            f"{path}: it belongs to another run (other {', '.join(other)}); "
            "give this run a folder of its own, or delete that one."
        )
    return tensors, rest


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """8 hex digits over names, types, shapes and values of contiguous CPU tensors."""
    value = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        value = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), value)
        if tensor.numel():
            value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), value)
    return f"{value:08x}"


def write_synced(path: Path, content: bytes):
    """Write a file and wait until the disk has it."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path):
    """Wait until the disk has the folder's renames; a no-op where a folder cannot be opened (Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -- networks and optimiser as flat tensors -------------------------------------------------


def pack(models: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer) -> tuple[Tensors, Rest]:
    """All weights, buffers and optimiser state, as (tensors, JSON-able rest)."""
    tensors: Tensors = {}
    for name, network in models.items():
        tensors |= {f"models/{name}/{key}": value for key, value in network.state_dict().items()}
    scalars: dict[str, dict[str, Any]] = {}
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimiser/{index}/{key}"] = value
            else:
                scalars.setdefault(str(index), {})[key] = value
    return tensors, {"optimiser": scalars}


def unpack(
    tensors: Tensors, rest: Rest, models: Mapping[str, nn.Module], optimiser: torch.optim.Optimizer
):
    """Put what `pack` took back in place; memory layouts as well, since sums depend on their order."""
    for name, network in models.items():
        start = f"models/{name}/"
        own = {key.removeprefix(start): value for key, value in tensors.items() if key.startswith(start)}
        network.load_state_dict(own)
    state = {int(index): dict(values) for index, values in rest["optimiser"].items()}
    for key, value in tensors.items():
        if key.startswith("optimiser/"):
            _, index, entry = key.split("/", 2)
            state.setdefault(int(index), {})[entry] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for parameter, values in optimiser.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
