"""Stages: the steps of a method, each done once.

A stage is a function of its inputs, of some config fields and of a seed. What it returns is kept in
the user's cache under the hash of all those, so rows that share a teacher train it once, and a
killed run resumes at its stage, and within it at its checkpoint.

    @stage("steps", "learning_rate")                        # the config fields it reads
    def teacher(runner, config, samples):
        torch.manual_seed(runner.seed)
        models = {"unet": UNet(2)}
        history = runner.fit(step, models, batches(samples), steps=config.steps,
                           learning_rate=config.learning_rate)
        return {"unet": models["unet"].state_dict(), "history": asdict(history)}

    @stage("threshold")
    def pseudo_labels(runner, config, samples, teacher): ...

    runner = StageRunner(seed=0, minutes=9)
    trained = runner.do(teacher, config, samples)             # trained now, or read from the cache
    labels = runner.do(pseudo_labels, config, samples, trained)
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from nucbook.cache import cache_folder
from nucbook.fingerprint import fingerprint
from nucbook.training import files
from nucbook.training.fit import History, fit
from nucbook.training.prepare import agreed, first_process

RESULT = "result.safetensors"


class OutOfTime(Exception):
    """The time limit came before a stage was done; the same call later goes on where it stopped."""


class Only:
    """A config that shows some fields and refuses the others: no stage reads what is not in its key."""

    def __init__(self, config: Any, names: tuple[str, ...], stage: str):
        self.__dict__.update({"_stage": stage} | {name: getattr(config, name) for name in names})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"stage {self._stage!r} reads config.{name}, which its @stage(…) does not name.")

    def __setattr__(self, name: str, value: Any):
        raise AttributeError("a config is not changed while a stage runs.")


def stage(*reads: str, version: int = 1) -> Callable[[Callable], Callable]:
    """Declare a function as a stage; call it through `StageRunner.do`.

    reads   : names of the config fields it reads; the config it gets shows no others. "*" = all.
    version : raise it when the function's meaning changes, and what older code cached is not used.
    """

    def declare(function: Callable) -> Callable:
        function.reads, function.version = reads, version
        return function

    return declare


@dataclass(frozen=True)
class StageRunner:
    """Where the stages of one run are done.

    seed     : of everything random in them.
    folder   : cache; None = `cache_folder() / "stages"`.
    minutes  : time limit from now on, or None.
    progress : whether trainings show a bar.
    """

    seed: int = 0
    folder: str | Path | None = None
    minutes: float | None = None
    progress: bool = True
    started: float = field(default_factory=time.monotonic)
    stage: str = ""  # the stage being done, and where
    here: Path | None = None

    def minutes_left(self) -> float | None:
        """Minutes until the limit (0 after it), or None where there is none."""
        if self.minutes is None:
            return None
        return max(self.minutes - (time.monotonic() - self.started) / 60, 0.0)

    def do(self, function: Callable, config: Any, *inputs: Any) -> Any:
        """What the stage returns for these inputs: from the cache, or done now and kept.

        inputs : plain data, arrays, tensors, samples; they are part of the key by content.

        A stage returns dicts, lists and tuples (which come back as lists) of tensors, arrays, numbers,
        texts and None. Raises OutOfTime at the limit, TypeError for a result that cannot be kept.
        """
        name = f"{function.__module__.removeprefix('nucbook.papers.')}.{function.__name__}"
        shown = config
        if function.reads != ("*",):
            shown = Only(config, function.reads, name)
            config = {field: getattr(config, field) for field in function.reads}
        key = fingerprint(name, function.version, config, self.seed, inputs)
        here = Path(self.folder or cache_folder() / "stages") / f"{name}-{key}"
        here.mkdir(parents=True, exist_ok=True)
        lock = FileLock(here / "lock")  # held by the first process for all of its launch
        try:
            if agreed(not self._acquired(lock)):
                raise OutOfTime(f"another run is doing {name}, and the time is up.")
            found = _read(here / RESULT)
            if found is None:
                if agreed(self.minutes_left() == 0):
                    raise OutOfTime(f"no time left for {name}; the same call goes on.")
                made = function(replace(self, stage=name, here=here), shown, *inputs)
                if first_process():
                    _keep(here / RESULT, made, name)
                    shutil.rmtree(here / "checkpoint", ignore_errors=True)
                agreed(None)  # all wait until it is written
                found = _read(here / RESULT)
            return found
        finally:
            lock.release()

    def _acquired(self, lock: FileLock) -> bool:
        if first_process():
            try:
                lock.acquire(timeout=-1 if self.minutes is None else 60 * self.minutes_left())
            except Timeout:
                return False
        return True

    def fit(self, *args: Any, **kwargs: Any) -> History:
        """`nucbook.training.fit` with the runner's `orders`.

        A stage that calls it twice names its parts by `stage=`. Raises OutOfTime where the limit stops it.
        """
        return self.finished(fit(*args, **kwargs, **self.orders(kwargs.get("stage", "train"))))

    def orders(self, part: str = "train") -> dict[str, Any]:
        """Seed, checkpoint folder, minutes left and progress, as `fit` and functions like it take them."""
        return {
            "seed": self.seed,
            "checkpoint": self.here / "checkpoint" / part,
            "minutes": self.minutes_left(),
            "progress": self.progress,
        }

    def finished(self, history: History) -> History:
        """The history of a training that came to its end; raises OutOfTime where the limit stopped it."""
        if not history.finished:
            what = f"the time limit came after {history.step} steps of {self.stage}"
            raise OutOfTime(f"{what}; the same call goes on.")
        return history


# -- what a stage returns, as one file without code -----------------------------------------


def _keep(path: Path, made: Any, name: str):
    tensors: dict[str, Tensor] = {}
    tree = _flat(made, tensors, name)
    files.put(files.write_aside(path, tensors, {"tree": json.dumps(tree)}), path)


def _read(path: Path) -> Any:
    """What was kept, or None where there is nothing usable."""
    if not path.exists():
        return None
    try:
        tensors, texts = files.read(path)
    except files.DamagedFile as error:
        warnings.warn(f"{path}: {error}; this stage is done again.", stacklevel=3)
        return None
    return _deep(json.loads(texts["tree"]), tensors)


def _flat(thing: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """The tree as JSON; arrays and tensors go to `tensors`, and leave {"tensor" or "array": their number}."""
    if isinstance(thing, (np.ndarray, Tensor)):
        number = str(len(tensors))
        tensors[number] = torch.from_numpy(thing.copy()) if isinstance(thing, np.ndarray) else thing
        return {"array" if isinstance(thing, np.ndarray) else "tensor": number}
    if isinstance(thing, Mapping):
        return {"dict": [[_flat(k, tensors, name), _flat(v, tensors, name)] for k, v in thing.items()]}
    if isinstance(thing, (list, tuple)):
        return [_flat(item, tensors, name) for item in thing]
    if isinstance(thing, np.generic):
        return thing.item()
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    raise TypeError(f"stage {name!r} returns a {type(thing).__name__}; return plain data, arrays, tensors.")


def _deep(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_deep(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "dict":
        return {_deep(k, tensors): _deep(v, tensors) for k, v in content}
    return tensors[content].numpy() if kind == "array" else tensors[content]
