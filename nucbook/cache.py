"""What was computed once and is kept: finished stages, checkpoints, pre-trained encoders. No torch."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

from nucbook.code import Home, NoSource, code_of_module

RESULT, NOTE, LOCK = "result.safetensors", "stage.json", "lock"


def cache_folder() -> Path:
    """`$NUCBOOK_CACHE`, else the platform's user cache."""
    folder = os.environ.get("NUCBOOK_CACHE")
    return Path(folder) if folder else platformdirs.user_cache_path("nucbook")


def stages_folder() -> Path:
    """Where finished and broken off stages are kept."""
    return cache_folder() / "stages"


@dataclass(frozen=True)
class Kept:
    """A stage in the cache.

    stage     : its name.
    folder    : where it is kept.
    size      : bytes.
    age       : seconds since it was last written to.
    seed, samples : of its run; None and "" where its note is missing.
    config    : the config fields it read, inner ones with a dot.
    finished  : whether it has a result, or only a checkpoint.
    reachable : whether today's code may still read it; None where that cannot be told (a notebook's cell).
    """

    stage: str
    folder: Path
    size: int
    age: float
    seed: int | None
    samples: str
    config: Mapping[str, Any]
    finished: bool
    reachable: bool | None


def kept(folder: str | Path | None = None) -> list[Kept]:
    """The stages in a cache, None = the user's, by name and the newest first."""
    root = Path(folder or stages_folder())
    found = [_kept(each) for each in root.iterdir() if each.is_dir()] if root.is_dir() else []
    return sorted(found, key=lambda stage: (stage.stage, stage.age))


def prune(stages: Iterable[Kept]) -> tuple[list[Kept], list[Kept]]:
    """Remove stages from the cache; returns those removed, and those left as a process is at them."""
    removed, busy = [], []
    for stage in stages:
        try:
            with FileLock(stage.folder / LOCK).acquire(timeout=0):
                for path in stage.folder.iterdir():
                    if path.is_dir():
                        shutil.rmtree(path)
                    elif path.name != LOCK:
                        path.unlink()
        except Timeout:
            busy.append(stage)
        else:
            shutil.rmtree(stage.folder, ignore_errors=True)  # the lock, which Windows keeps while it is held
            removed.append(stage)
    return removed, busy


def _kept(folder: Path) -> Kept:
    files = [file.stat() for file in folder.rglob("*") if file.is_file() and file.name != LOCK]
    newest = max((file.st_mtime for file in files), default=folder.stat().st_mtime)
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # of an earlier version, whose keys are none of today's
        note = {}
    return Kept(
        note.get("stage") or folder.name.rpartition("-")[0],
        folder,
        sum(file.st_size for file in files),
        max(time.time() - newest, 0.0),
        note.get("seed"),
        note.get("samples", ""),
        dict(_flat(note.get("config"))),
        (folder / RESULT).exists(),
        _reachable(note),
    )


def _reachable(note: Mapping[str, Any]) -> bool | None:
    if not note:
        return False
    module, file = note["module"], note["file"]
    if file is None and not module.startswith("nucbook."):
        return None
    try:
        return code_of_module(Home(module, Path(file) if file else None)) == note["code"]
    except (NoSource, OSError, SyntaxError):
        return False


def _flat(config: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in config.items() if isinstance(config, Mapping) else ():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
