"""What a run is: its identity, and the fingerprints that identity is made of. Pure data, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row of a table: what is trained on what, and on what it is measured.

    name        : as `published.csv` spells it, or a name of ours.
    method      : "paper.name", the recipe METHODS["name"] of `nucbook.papers.<paper>.tables`.
    dataset     : data set it learns from, as `nucbook.data.load` knows it.
    labels      : how many labels of which kind, as `published.csv` spells it ("1/8", "100%"), or "none".
    measured_on : data sets it is measured on, a results line each, from one training; empty = `dataset`.
    changes     : config fields in which it differs from the paper's main method.
    split       : arguments of `Split.make`, or empty for the official parts.
    folds       : how many folds of a cross-validation it takes.
    alias       : a short name for the command line.
    """

    name: str
    method: str
    dataset: str
    labels: str = "100%"
    measured_on: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=dict)
    folds: int = 1
    alias: str = ""

    def __post_init__(self):
        object.__setattr__(self, "measured_on", tuple(self.measured_on) or (self.dataset,))


@dataclass(frozen=True)
class Table:
    """A table: rows, and which of our metrics stands for each published column.

    paper, name : as in `published.csv` ("ircr", "2").
    caption     : what is compared, one sentence.
    columns     : {published metric: key of `nucbook.metrics.evaluate`}.
    spelled     : {our name of a data set: the paper's}, where they differ.
    unit        : 100 where the paper prints per cent, else 1.

    Raises ValueError where two rows could not be told apart.
    """

    paper: str
    name: str
    caption: str
    rows: tuple[Row, ...]
    columns: Mapping[str, str]
    spelled: Mapping[str, str] = field(default_factory=dict)
    unit: float = 1

    def __post_init__(self):
        seen = set()
        for row in self.rows:
            for key in [(row.name, row.labels, dataset) for dataset in row.measured_on]:
                if key in seen:
                    raise ValueError(f"table {self.paper}/{self.name} has two rows {', '.join(key)}.")
                seen.add(key)

    def spell(self, dataset: str) -> str:
        """A data set's name as the paper has it."""
        return self.spelled.get(dataset, dataset)


@dataclass(frozen=True)
class Run:
    """A row made definite: resolved config, fold and seed. The same run in two tables is run once.

    config : the resolved configuration, {field: value}.
    init   : weights it asks to start from.
    """

    method: str
    config: Mapping[str, Any]
    dataset: str
    split: Mapping[str, Any]
    labels: str
    fold: int = 0
    seed: int = 0
    init: str = "scratch"

    @property
    def identity(self) -> str:
        """16 hex digits: the hash of all fields. Which code ran it is recorded beside it, not hashed."""
        return fingerprint([getattr(self, f.name) for f in fields(self)])


@dataclass(frozen=True)
class Recipe:
    """How the runs of a method are made.

    config : its configuration class, with `paper`, `short` and `quick`.
    run    : (row, context) -> RunResult.
    """

    config: type
    run: Callable[[Row, Context], RunResult]


@dataclass(frozen=True)
class Context:
    """What a recipe gets beside its row.

    run         : what is to be run; `run.seed` and `run.fold` are of this one.
    config      : its configuration, an object of the recipe's class.
    profile     : quick, short or paper.
    measured_on : the data sets still to be measured, some or all of the row's.
    desk        : a `nucbook.training.stages.Desk`, with the seed and what is left of the time.
    """

    run: Run
    config: Any
    profile: str
    measured_on: tuple[str, ...]
    desk: Any


@dataclass(frozen=True)
class Measured:
    """The numbers of a run on one data set.

    metrics   : {key: mean}, keys of `nucbook.metrics.evaluate`.
    per_image : one dict an image.
    data      : whether its images are "real" or "simulated".
    """

    metrics: Mapping[str, float]
    per_image: Sequence[Mapping[str, Any]] = ()
    data: str = "real"

    def __post_init__(self):
        if self.data not in ("real", "simulated"):
            raise ValueError(f"data is {self.data!r}; say whether the images are 'real' or 'simulated'.")


@dataclass(frozen=True)
class RunResult:
    """What a recipe returns.

    measured  : {data set: Measured}, for all of `context.measured_on`.
    init      : weights it did start from; "scratch" where ImageNet's could not be had.
    selection : how the weights were chosen: "last", or by what on the validation images.
    seconds   : of training, over all resumptions.
    """

    measured: Mapping[str, Measured]
    init: str = "scratch"
    selection: str = "last"
    seconds: float = 0.0


def fingerprint(*things: Any) -> str:
    """16 hex digits that name the content of `things`, the same on every machine and day.

    Takes None, bools, numbers, strings, paths, sequences, sets, mappings, dataclasses, arrays and tensors,
    functions and classes (by name) and `functools.partial`. 3 and 3.0 are one number, a list and a
    tuple one sequence. Raises TypeError for anything else.
    """
    text = json.dumps([_plain(thing) for thing in things], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _plain(thing: Any) -> Any:
    if thing is None or isinstance(thing, (bool, str)):
        return thing
    if isinstance(thing, (int, float)):
        return int(thing) if float(thing).is_integer() else repr(float(thing))
    if isinstance(thing, PurePath):
        return thing.as_posix()
    if isinstance(thing, partial):
        return {"partial": [_plain(part) for part in (thing.func, thing.args, thing.keywords)]}
    if is_dataclass(thing) and not isinstance(thing, type):
        return {type(thing).__name__: {f.name: _plain(getattr(thing, f.name)) for f in fields(thing)}}
    if isinstance(thing, Mapping):
        return {json.dumps(_plain(key)): _plain(value) for key, value in thing.items()}
    if isinstance(thing, (set, frozenset)):
        return {"set": sorted((_plain(item) for item in thing), key=json.dumps)}
    if hasattr(thing, "__array__"):
        return _array(thing)
    if isinstance(thing, Sequence):
        return [_plain(item) for item in thing]
    if hasattr(thing, "__qualname__"):
        return f"{thing.__module__}.{thing.__qualname__}"
    raise TypeError(f"no fingerprint for a {type(thing).__name__}; give plain data, arrays or dataclasses.")


def _array(thing: Any) -> Any:
    if hasattr(thing, "detach"):  # a tensor, wherever it lives
        thing = thing.detach().cpu()
        thing = thing.float() if "bfloat16" in str(thing.dtype) else thing  # numpy has none; it is exact
    array = thing.__array__()
    if array.ndim == 0:
        return _plain(array.item())
    if array.dtype.hasobject:
        return [_plain(item) for item in array.tolist()]
    content = hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()
    return {"array": [str(array.dtype), list(array.shape), content]}
