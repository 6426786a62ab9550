"""Checkpoints that survive a crash: written aside, synced, renamed, the previous one kept.

One file holds everything: tensors, and as JSON in its header the rest. So one rename makes a
checkpoint whole.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nucbook.training import files

LATEST, PREVIOUS = "latest.safetensors", "previous.safetensors"

Tensors = dict[str, Tensor]
Rest = dict[str, Any]


class BadCheckpoint(ValueError):
    """A checkpoint that cannot be used; the message names the file, the reason, the way out."""


def save(folder: str | Path, tensors: Mapping[str, Tensor], rest: Rest, identity: Mapping[str, str]):
    """Write a checkpoint into `folder`; the one before it stays as `previous.safetensors`.

    rest     : anything JSON can hold.
    identity : what the run is, part by part; `load` refuses a checkpoint of another run.

    Raises OSError where it cannot be written (disk full); the checkpoints that were there stay as they were.
    """
    latest = Path(folder) / LATEST
    try:
        texts = {"identity": json.dumps(dict(identity)), "rest": json.dumps(rest)}
        aside = files.write_aside(latest, tensors, texts)
        if latest.exists():
            os.replace(latest, latest.with_name(PREVIOUS))
        files.put(aside, latest)
    except OSError as error:
        raise OSError(
            error.errno,
            f"checkpoint not written ({error.strerror}); the earlier ones are intact: "
            "free some space and start again, it resumes there",
            str(latest),
        ) from error


def load(folder: str | Path, identity: Mapping[str, str]) -> tuple[Tensors, Rest] | None:
    """The newest usable checkpoint of this run as (tensors, rest), or None where there is none yet.

    Where the latest is damaged it warns and takes the previous one; raises BadCheckpoint
    where both are unusable.
    """
    first: BadCheckpoint | None = None
    for name in (LATEST, PREVIOUS):
        path = Path(folder) / name
        if not path.exists():  # a crash between the two renames leaves only the previous
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
        tensors, texts = files.read(path)
        made_by, rest = json.loads(texts["identity"]), json.loads(texts["rest"])
    except files.DamagedFile as error:
        raise BadCheckpoint(f"{path}: {error}; delete it to start anew.") from error
    except (KeyError, ValueError) as error:
        raise BadCheckpoint(f"{path}: not a checkpoint; delete it to start anew.") from error
    other = sorted(key for key in {*made_by, *identity} if made_by.get(key) != identity.get(key))
    if other:
        raise BadCheckpoint(
            f"{path}: it belongs to another run (other {', '.join(other)}); "
            "give this run a folder of its own, or delete that one."
        )
    return tensors, rest


# -- networks and optimisers as flat tensors ------------------------------------------------

Optimisers = Mapping[str, torch.optim.Optimizer]


def pack(models: Mapping[str, nn.Module], optimisers: Optimisers) -> tuple[Tensors, Rest]:
    """All weights, buffers and optimisers' states, as (tensors, JSON-able rest).

    optimisers : {turn: optimiser}; "" is the one of a training without turns.
    """
    tensors: Tensors = {}
    for name, network in models.items():
        tensors |= {f"models/{name}/{key}": value for key, value in network.state_dict().items()}
    scalars: dict[str, dict[str, Any]] = {}
    for turn, optimiser in optimisers.items():
        for index, state in optimiser.state_dict()["state"].items():
            where = f"{turn}/{index}" if turn else str(index)
            for key, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser/{where}/{key}"] = value
                else:
                    scalars.setdefault(where, {})[key] = value
    return tensors, {"optimiser": scalars}


def unpack(tensors: Tensors, rest: Rest, models: Mapping[str, nn.Module], optimisers: Optimisers):
    """Put what `pack` took back in place; memory layouts as well, since sums depend on their order."""
    for name, network in models.items():
        network.load_state_dict(_below(f"models/{name}/", tensors))
    for turn, optimiser in optimisers.items():
        start = f"{turn}/" if turn else ""
        state = {int(index): dict(values) for index, values in _below(start, rest["optimiser"]).items()}
        for key, value in _below(f"optimiser/{start}", tensors).items():
            index, entry = key.split("/", 1)
            state.setdefault(int(index), {})[entry] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        for parameter, values in optimiser.state.items():
            for key, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _below(start: str, entries: Mapping[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(start): value for key, value in entries.items() if key.startswith(start)}
