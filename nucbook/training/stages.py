"""Stages: the steps of a method, each done once.

A stage is a function of its inputs, of some config fields and of a seed. What it returns is kept in
the user's cache under the hash of all those and of the code it uses (`nucbook.code`), so rows that share
a teacher train it once, a killed run resumes at its stage, and within it at its checkpoint, and an edited
loss trains anew.

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
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from nucbook.cache import LOCK, NOTE, RESULT, stages_folder
from nucbook.code import code_of, home
from nucbook.fingerprint import fingerprint
from nucbook.provenance import Provenance, now
from nucbook.sample import Sample
from nucbook.training import files
from nucbook.training.fit import History, fit
from nucbook.training.prepare import agreed, first_process


class OutOfTime(Exception):
    """The time limit came before a stage was done; the same call later goes on where it stopped."""


class Busy(Exception):
    """Another process is doing this stage; do something else, and come back.

    stage : its name.
    """

    def __init__(self, stage: str):
        super().__init__(stage)
        self.stage = stage

    def __str__(self) -> str:
        return f"another process is doing {self.stage}; the same call goes on when it has finished."


class Only:
    """A config that shows some fields and refuses the others: no stage reads what is not in its key."""

    def __init__(self, config: Any, names: tuple[str, ...], stage: str):
        self.__dict__.update({"_stage": stage} | {name: getattr(config, name) for name in names})

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"stage {self._stage!r} reads config.{name}, which its @stage(…) does not name.")

    def __setattr__(self, name: str, value: Any):
        raise AttributeError("a config is not changed while a stage runs.")


class Stage(Protocol):
    """A function that `stage` has declared."""

    __module__: str
    __name__: str
    reads: tuple[str, ...]

    def __call__(self, runner: StageRunner, config: Any, *inputs: Any) -> Any:
        """What the stage returns, done now."""


def stage(*reads: str) -> Callable[[Callable[..., Any]], Stage]:
    """Declare a function as a stage; call it through `StageRunner.do`.

    reads : names of the config fields it reads; the config it gets shows no others. "*" = all.
    """

    def declare(function: Callable[..., Any]) -> Stage:
        declared = cast(Stage, function)
        declared.reads = reads
        return declared

    return declare


@dataclass(frozen=True)
class StageRunner:
    """Where the stages of one run are done.

    seed     : of everything random in them.
    folder   : cache; None = `nucbook.cache.stages_folder()`.
    minutes  : time limit from now on, or None.
    progress : whether trainings show a bar.
    wait     : whether to wait for another process that does the same stage, or to raise Busy.
    used     : where the results of the stages done so far come from.
    """

    seed: int = 0
    folder: str | Path | None = None
    minutes: float | None = None
    progress: bool = True
    wait: bool = True
    used: list[Provenance] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    stage: str = ""  # the stage being done, and where
    here: Path | None = None

    def minutes_left(self) -> float | None:
        """Minutes until the limit (0 after it), or None where there is none."""
        if self.minutes is None:
            return None
        return max(self.minutes - (time.monotonic() - self.started) / 60, 0.0)

    def do(self, function: Stage, config: Any, *inputs: Any) -> Any:
        """What the stage returns for these inputs: from the cache, or done now and kept.

        inputs : plain data, arrays, tensors, samples; they are part of the key by content.

        A stage returns dicts, lists and tuples (which come back as lists) of tensors, arrays, numbers,
        texts and None. Raises OutOfTime at the limit, Busy where another process is at it and the runner
        does not wait, TypeError for a result that cannot be kept, NoSource for a function without a text.
        """
        place, code = home(function), code_of(function)
        name = f"{place.module.removeprefix('nucbook.papers.')}.{function.__name__}"
        shown = config
        if function.reads != ("*",):
            shown = Only(config, function.reads, name)
            config = {field: getattr(config, field) for field in function.reads}
        key = fingerprint(name, code, config, self.seed, inputs)
        here = Path(self.folder or stages_folder()) / f"{name}-{key}"
        here.mkdir(parents=True, exist_ok=True)
        lock = FileLock(here / LOCK)  # held by the first process for all of its launch
        try:
            hindrance = agreed(self._taken(lock, name))
            if hindrance is not None:
                raise hindrance
            found = _read(here / RESULT)
            if found is None:
                if agreed(self.minutes_left() == 0):
                    raise OutOfTime(f"no time left for {name}; the same call goes on.")
                if first_process():
                    note: dict[str, Any] = {
                        "stage": name,
                        "module": place.module,
                        "file": place.file,
                        "code": code,
                    }
                    note |= {"seed": self.seed, "config": config, "samples": _samples(inputs)}
                    text = json.dumps(note, default=_as_json, indent=1)
                    files.put(files.write_bytes_aside(here / NOTE, text.encode()), here / NOTE)
                made = function(replace(self, stage=name, here=here, used=[]), shown, *inputs)
                if first_process():
                    _keep(here / RESULT, made, name)
                    shutil.rmtree(here / "checkpoint", ignore_errors=True)
                agreed(None)  # all wait until it is written
                found = _read(here / RESULT)
            if found is None:
                raise OSError(
                    f"{here / RESULT}: what was written a moment ago cannot be read; check the disk."
                )
            result, provenance = found
            self.used.append(provenance)
            return result
        finally:
            lock.release()

    def _taken(self, lock: FileLock, name: str) -> Exception | None:
        """Take the lock; None, or what keeps the first process from it."""
        if not first_process():
            return None
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not self.wait:
                return Busy(name)
            print(f"waiting for another process that is doing {name}", file=sys.stderr, flush=True)
            try:
                left = self.minutes_left()
                lock.acquire(timeout=-1 if left is None else 60 * left)
            except Timeout:
                return OutOfTime(f"another process is doing {name}, and the time is up.")
        return None

    def fit(self, *args: Any, **kwargs: Any) -> History:
        """`nucbook.training.fit` with the runner's `orders`.

        A stage that calls it twice names its parts by `stage=`. Raises OutOfTime where the limit stops it.
        """
        orders = self.orders(kwargs.get("stage", "train"))
        return self.finished(fit(*args, **{**kwargs, **orders}))

    def orders(self, part: str = "train") -> dict[str, Any]:
        """Seed, checkpoint folder, minutes left and progress, as `fit` and functions like it take them."""
        if self.here is None:
            raise ValueError("a training of a stage belongs into a stage: call it through StageRunner.do.")
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
    texts = {"tree": json.dumps(tree), "provenance": json.dumps(asdict(now()))}
    files.put(files.write_aside(path, tensors, texts), path)


def _read(path: Path) -> tuple[Any, Provenance] | None:
    """What was kept and where it comes from, or None where there is nothing usable."""
    if not path.exists():
        return None
    try:
        tensors, texts = files.read(path)
    except files.DamagedFile as error:
        warnings.warn(f"{path}: {error}; this stage is done again.", stacklevel=3)
        return None
    return _deep(json.loads(texts["tree"]), tensors), Provenance(**json.loads(texts["provenance"]))


def _flat(thing: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """The tree as JSON; arrays and tensors go to `tensors`, and leave {"array": [number, type]} behind."""
    if isinstance(thing, (np.ndarray, Tensor)):
        number = str(len(tensors))
        tensor = torch.from_numpy(thing.copy()) if isinstance(thing, np.ndarray) else thing
        kind = "array" if isinstance(thing, np.ndarray) else "tensor"
        tensors[number] = _smallest(tensor)
        return {kind: [number, str(tensor.dtype).removeprefix("torch.")]}
    if isinstance(thing, Mapping):
        return {"dict": [[_flat(k, tensors, name), _flat(v, tensors, name)] for k, v in thing.items()]}
    if isinstance(thing, (list, tuple)):
        return [_flat(item, tensors, name) for item in thing]
    if isinstance(thing, np.generic):
        return thing.item()
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    raise TypeError(f"stage {name!r} returns a {type(thing).__name__}; return plain data, arrays, tensors.")


def _smallest(tensor: Tensor) -> Tensor:
    """Whole numbers in the smallest type that holds them: labels rarely need the 32 bits they are made in."""
    if tensor.dtype not in (torch.int16, torch.int32, torch.int64) or not tensor.numel():
        return tensor
    low, high = (int(value) for value in tensor.aminmax())
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32):
        if torch.iinfo(dtype).min <= low and high <= torch.iinfo(dtype).max:
            return tensor.to(dtype)
    return tensor


def _deep(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_deep(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "dict":
        return {_deep(k, tensors): _deep(v, tensors) for k, v in content}
    number, dtype = content
    tensor = tensors[number].to(getattr(torch, dtype))
    return tensor.numpy() if kind == "array" else tensor


# -- what the list of kept stages shows of one -----------------------------------------------


def _samples(inputs: Any) -> str:
    """ "12 samples of kumar" for the first samples among the inputs, or ""."""
    for thing in inputs:
        if isinstance(thing, (list, tuple)) and thing and all(isinstance(item, Sample) for item in thing):
            sets = sorted({str(sample.meta.get("dataset") or "") for sample in thing} - {""})
            return f"{len(thing)} samples" + (f" of {', '.join(sets)}" if sets else "")
    return ""


def _as_json(thing: Any) -> Any:
    return asdict(thing) if is_dataclass(thing) and not isinstance(thing, type) else str(thing)
