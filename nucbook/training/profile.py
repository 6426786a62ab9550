"""How large a run is: `quick` on a laptop, `short` within an hour, `paper` as published.

A configuration is resolved in one order: paper(dataset) → profile → the row's changes → the command line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Protocol, Self, TypeVar, Union, get_args, get_origin, get_type_hints

PROFILES = ("quick", "short", "paper")


class Configuration(Protocol):
    """A frozen dataclass with its three sizes; each field carries unit and source."""

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The paper's values, which differ by data set."""

    @classmethod
    def short(cls, dataset: str) -> Self:
        """The same losses and family of network, within an hour a stage on two cores."""

    @classmethod
    def quick(cls) -> Self:
        """Simulated data, from scratch, seconds."""


C = TypeVar("C", bound=Configuration)


def profile(name: str | None = None) -> str:
    """The profile in force: `name`, else NUCBOOK_PROFILE, else "quick"; raises ValueError for others."""
    chosen = name or os.environ.get("NUCBOOK_PROFILE") or "quick"
    if chosen not in PROFILES:
        raise ValueError(f"profile {chosen!r}? Choose one of {', '.join(PROFILES)}.")
    return chosen


def resolve(
    config: type[C],
    dataset: str,
    profile_name: str | None = None,
    changes: Mapping[str, Any] | None = None,
    command_line: Mapping[str, Any] | None = None,
) -> C:
    """The configuration a run uses; `rows.fingerprint` of it names it.

    changes      : fields a row changes.
    command_line : fields the user changes, last; texts are read as the field's type ("0.5", "[1, 2]").

    Raises ValueError for an unknown field (it lists those there are) or a value of another type.
    """
    chosen = profile(profile_name)
    sized = config.quick() if chosen == "quick" else getattr(config, chosen)(dataset)
    return change(change(sized, changes or {}), command_line or {})


def change(config: C, changes: Mapping[str, Any]) -> C:
    """A copy with some fields changed, by the rules of `build`."""
    return build(type(config), {f.name: getattr(config, f.name) for f in fields(config)} | dict(changes))


def build(config: type[C], values: Mapping[str, Any]) -> C:
    """A configuration from its values, checked against its fields' types; numbers and tuples are converted.

    Raises ValueError for an unknown field (it lists those there are) or a value of another type.
    """
    types = get_type_hints(config)
    names = [f.name for f in fields(config)]
    for name in values:
        if name not in names:
            raise ValueError(f"{config.__name__} has no field {name!r}; its fields are {', '.join(names)}.")
    return config(**{name: _as(types[name], value, name) for name, value in values.items()})


def schedule(config: C, dataset: str, profile_name: str, changes: Mapping[str, Any] | None = None) -> str:
    """How a resolved config was shortened, for its results line: "paper", or "short: steps 60000 → 2500".

    changes : the row's own, which are no shortening.
    """
    full = change(type(config).paper(dataset), changes or {})
    pairs = [(f.name, getattr(full, f.name), getattr(config, f.name)) for f in fields(full)]
    changed = [f"{name} {before} → {after}" for name, before, after in pairs if before != after]
    return f"{profile(profile_name)}: {', '.join(changed)}" if changed else "paper"


def _as(kind: Any, value: Any, name: str) -> Any:
    """`value` as a field of type `kind`; a text is read as JSON where the field is not a text."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if isinstance(value, str) and str not in options:
        try:
            value = json.loads({"None": "null", "True": "true", "False": "false"}.get(value, value))
        except json.JSONDecodeError:
            _refuse(kind, value, name)
    for option in options:
        origin = get_origin(option) or option
        if option is type(None):
            if value is None:
                return None
        elif origin is tuple and isinstance(value, (list, tuple)):
            inner = get_args(option)
            of = inner[:1] * len(value) if inner[1:] == (...,) else inner or (Any,) * len(value)
            if len(of) == len(value):
                return tuple(_as(k, v, name) for k, v in zip(of, value))
        elif option is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        elif option is int and isinstance(value, float) and value.is_integer():
            return int(value)
        elif option is Any or (isinstance(value, origin) and not (option is int and isinstance(value, bool))):
            return value
    return _refuse(kind, value, name)


def _refuse(kind: Any, value: Any, name: str):
    wanted = getattr(kind, "__name__", str(kind)) if not get_args(kind) else str(kind)
    raise ValueError(f"{name} = {value!r}: wanted {wanted}.")
