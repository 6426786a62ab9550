"""Names for content: the same things get the same 16 hex digits on every machine and day. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import PurePath
from typing import Any


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
