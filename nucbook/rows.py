"""What a run is: its identity, and the fingerprints that identity is made of. Pure data, no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row of a table: what is trained, and on what it is measured.

    paper, table, row : where it stands; `row`, `labels` and `datasets` are spelled as in `published.csv`.
    method   : module under `nucbook.papers` that does the work ("baselines.unet").
    dataset  : data set it learns from.
    labels   : how many labels, of which kind ("1/8", "points", "100%", "none").
    datasets : data sets it is measured on; empty = `dataset` alone. One training serves them all.
    changes  : config fields that differ from the paper's.
    split    : how `dataset` is split (a name, or `Split` arguments).
    init     : weights it starts from: "scratch", "tissue" or "imagenet".
    """

    paper: str
    table: str
    row: str
    method: str
    dataset: str
    labels: str = "100%"
    datasets: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    split: str | Mapping[str, Any] = "official"
    init: str = "scratch"

    @property
    def measured_on(self) -> tuple[str, ...]:
        """Data sets of its result lines."""
        return self.datasets or (self.dataset,)


@dataclass(frozen=True)
class Run:
    """A row made definite: one resolved config, seed and fold. The same run in two tables is run once.

    config : the resolved configuration, field → value.
    """

    method: str
    config: Mapping[str, Any]
    dataset: str
    split: str | Mapping[str, Any]
    labels: str
    seed: int
    fold: int = 0
    init: str = "scratch"

    @property
    def identity(self) -> str:
        """16 hex digits: the hash of all fields. Which code ran is recorded beside it, not hashed."""
        return fingerprint(self)


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
    if hasattr(thing, "detach"):                            # a tensor, wherever it lives
        thing = thing.detach().cpu()
    array = thing.__array__()
    if array.ndim == 0:
        return _plain(array.item())
    if array.dtype.hasobject:
        return [_plain(item) for item in array.tolist()]
    content = hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()
    return {"array": [str(array.dtype), list(array.shape), content]}
