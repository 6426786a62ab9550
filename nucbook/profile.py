"""How large a run is: `quick` on a laptop, `short` within an hour, `paper` as published.

A configuration is resolved in one order: paper(dataset) → profile → the row's changes → the command line.
Its class is declared with `@configuration`, so that every value is checked wherever it comes from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from difflib import get_close_matches
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    Protocol,
    Self,
    TypeVar,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec
from msgspec import Meta

PROFILES = ("quick", "short", "paper")

# What a field may hold; its unit stands beside the field.
Count = Annotated[int, Meta(ge=1)]
CountOrZero = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
EncoderName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "lite0"]
Init = Literal["scratch", "imagenet", "tissue"]
Precision = Literal["auto", "bf16", "fp16", "no"]

_JSON = {"None": "null", "True": "true", "False": "false"}  # as a user of Python writes them


class Configuration(Protocol):
    """A frozen dataclass with its three sizes; each field carries unit and source."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def paper(cls, dataset: str) -> Self:
        """The paper's values, which differ by data set."""

    @classmethod
    def short(cls, dataset: str) -> Self:
        """The same losses and family of network, within an hour per stage on two cores."""

    @classmethod
    def quick(cls) -> Self:
        """Simulated data, from scratch, seconds."""


C = TypeVar("C", bound=Configuration)
T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def configuration(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass that checks its values: types, ranges and spellings.

    Fields are annotated with plain types, `Literal`, the types above (`Count`, `Positive`, …) or another
    configuration. Construction raises ValueError that names the field, what it may hold and the nearest
    spelling; whole numbers become floats and lists tuples where the field wants them.
    """

    def check(self: Any) -> None:
        for each in fields(self):
            kind = _kinds(self.__class__)[each.name]
            object.__setattr__(self, each.name, _checked(kind, getattr(self, each.name), each.name))

    cls.__post_init__ = check  # type: ignore[attr-defined]
    return dataclass(frozen=True)(cls)


def as_before(default: Any) -> Any:
    """A field that came later, whose default is what was done before: stored runs keep their identity."""
    return field(default=default, metadata={"as before": True})


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
    """The configuration a run uses; `identity` of it names it.

    changes      : fields a row changes.
    command_line : fields the user changes, last; texts are read as the field's type ("0.5", "[1, 2]").

    A field of an inner configuration is named with a dot ("hovernet.steps"), or without where only one
    has it. Raises ValueError for an unknown field or a value that it cannot hold, with the nearest spelling.
    """
    chosen = profile(profile_name)
    sized = config.quick() if chosen == "quick" else getattr(config, chosen)(dataset)
    return change(change(sized, changes or {}), command_line or {})


def change(config: C, changes: Mapping[str, Any]) -> C:
    """A copy with some fields changed, named and checked as in `resolve`."""
    for name, value in changes.items():
        config = _changed(config, _path(config, name).split("."), value, name)
    return config


def build(config: type[C], values: Mapping[str, Any]) -> C:
    """A configuration from all its values, inner ones as mappings; checked and converted as in `resolve`.

    Raises ValueError for an unknown field or a value that it cannot hold.
    """
    kinds, made = _kinds(config), {}
    for name, value in values.items():
        if name not in kinds:
            raise ValueError(_unknown(config.__name__, name, kinds))
        inner = kinds[name]
        nested = is_dataclass(inner) and isinstance(value, Mapping)
        made[name] = build(inner, value) if nested else _checked(inner, value, name)
    return config(**made)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """{name: value} of all fields; those of inner configurations with a dot."""
    found: dict[str, Any] = {}
    for each in fields(config):
        value = getattr(config, each.name)
        inner = is_dataclass(value)
        found |= flat(value, f"{prefix}{each.name}.") if inner else {prefix + each.name: value}
    return found


def identity(config: Any) -> dict[str, Any]:
    """The fields that name a run: all but those declared `as_before` that hold their default."""
    kept = {}
    for each in fields(config):
        value = getattr(config, each.name)
        if not (each.metadata.get("as before") and value == each.default):
            kept[each.name] = identity(value) if is_dataclass(value) else value
    return kept


def schedule(config: C, dataset: str, profile_name: str, changes: Mapping[str, Any] | None = None) -> str:
    """How a resolved config was shortened, for its results line: "paper", or "short: steps 60000 → 2500".

    changes : the row's own, which are no shortening.
    """
    full, used = flat(change(type(config).paper(dataset), changes or {})), flat(config)
    changed = [f"{name} {full[name]} → {used[name]}" for name in full if full[name] != used[name]]
    return f"{profile(profile_name)}: {', '.join(changed)}" if changed else "paper"


# -- one field ----------------------------------------------------------------------------------


@cache
def _kinds(config: type) -> dict[str, Any]:
    hints = get_type_hints(config, include_extras=True)
    return {each.name: hints[each.name] for each in fields(config)}


def _path(config: Any, name: str) -> str:
    """The dotted name of a field, which may have been given without what stands before the dots."""
    there = flat(config)
    fitting = [path for path in there if path == name] or [
        path for path in there if path.endswith(f".{name}")
    ]
    if len(fitting) != 1:
        raise ValueError(_unknown(type(config).__name__, name, fitting or there))
    return fitting[0]


def _changed(config: C, path: list[str], value: Any, name: str) -> C:
    first, *rest = path
    if rest:
        return replace(config, **{first: _changed(getattr(config, first), rest, value, name)})
    return replace(config, **{first: _checked(_kinds(type(config))[first], value, name)})


def _unknown(owner: str, name: str, there: Mapping[str, Any] | list[str]) -> str:
    near = get_close_matches(name, there, n=1)
    meant = f"did you mean {near[0]!r}? Its" if near else "its"
    return f"{owner} has no field {name!r}; {meant} fields are {', '.join(there)}."


def _checked(kind: Any, value: Any, name: str) -> Any:
    """The value as the field's type holds it; texts are read as JSON where the type is not a text."""
    if isinstance(kind, type) and is_dataclass(kind):
        if isinstance(value, kind):
            return value
        raise ValueError(f"{name} = {value!r}: expected a {kind.__name__}.")
    tries = [value]
    if isinstance(value, str):
        with suppress(ValueError):
            tries.append(json.loads(_JSON.get(value, value)))
    if isinstance(tries[-1], float) and tries[-1].is_integer():
        tries.append(int(tries[-1]))
    errors = []
    for one in tries:
        try:
            return msgspec.convert(one, kind, strict=True)
        except msgspec.ValidationError as error:
            errors.append(str(error))
    choice = (
        [option for option in get_args(kind) if isinstance(option, str)]
        if get_origin(kind) is Literal
        else []
    )
    why = (
        f"one of {', '.join(choice)}"
        if choice
        else errors[-1].replace("Expected ", "expected ").replace("`", "")
    )
    near = get_close_matches(str(value), choice, n=1)
    raise ValueError(f"{name} = {value!r}: {why}{f'; did you mean {near[0]!r}?' if near else '.'}")
