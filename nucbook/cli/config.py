"""`nucbook config`: each value of a method, with its unit and where it is from."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Annotated

import typer

from nucbook.cli.options import Changes, Profile, explained, pairs


def config(
    method: Annotated[str, typer.Argument(help="A method, as ircr.")],
    dataset: Annotated[
        str, typer.Option(help="Data set it learns from; the paper's values differ by it.")
    ] = "own",
    profile: Profile = None,
    changes: Changes = None,
) -> None:
    """Print each field of a method's configuration with its value, unit and source."""
    with explained():
        from nucbook.data import SIMULATED
        from nucbook.data.catalog import CATALOG
        from nucbook.method import config_of
        from nucbook.profile import flat, resolve

        known = ("own", *CATALOG, *SIMULATED)
        if dataset not in known:
            raise ValueError(f"no data set {dataset!r}; there are {', '.join(known)}.")
        resolved = resolve(config_of(method), dataset, profile, command_line=pairs(changes))
        values = flat(resolved)
        notes = described(resolved)
        name, value = max(map(len, values)), max(len(repr(v)) for v in values.values())
        for field, held in values.items():
            typer.echo(f"{field:<{name}}  {held!r:<{min(value, 24)}}  {notes.get(field, '')}".rstrip())


def described(config: object, prefix: str = "") -> dict[str, str]:
    """{field: the comment beside it in the source: unit and where it is from}, inner fields with a dot."""
    from dataclasses import fields, is_dataclass

    notes: dict[str, str] = {}
    for owner in reversed(type(config).__mro__[:-1]):
        source = textwrap.dedent(inspect.getsource(owner))
        lines = source.splitlines()
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                _, _, note = lines[(node.end_lineno or 1) - 1][node.end_col_offset :].partition("#")
                notes[prefix + node.target.id] = note.strip()
    for each in fields(config):  # type: ignore[arg-type]
        value = getattr(config, each.name)
        if is_dataclass(value):
            notes |= described(value, f"{prefix}{each.name}.")
    return notes
