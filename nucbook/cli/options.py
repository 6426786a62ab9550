"""What several commands share: options, `--set`, errors that become messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

Profile = Annotated[str | None, typer.Option(help="quick, short or paper.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="Change a config field, as steps=500; repeatable.")
]
Minutes = Annotated[
    float | None, typer.Option(help="Stop cleanly after so long; the same command goes on later.")
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]


@contextmanager
def explained() -> Iterator[None]:
    """An error a user can act on becomes its message and exit code 1, not a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("nucbook: interrupted; the same command goes on.", err=True)
        raise typer.Exit(130) from None
    except ExceptionGroup as group:
        if not all(_is_mistake(error) for error in group.exceptions):
            raise
        messages = dict.fromkeys(str(error) for error in group.exceptions)
        typer.echo("\n".join(f"nucbook: {message}" for message in messages), err=True)
        raise typer.Exit(1) from group
    except Exception as error:
        if not _is_mistake(error):
            raise
        typer.echo(f"nucbook: {error}", err=True)
        raise typer.Exit(1) from error


def _is_mistake(error: Exception) -> bool:
    """What is named after a time limit is known only where a training has been imported."""
    return isinstance(error, ValueError | OSError) or type(error).__name__ in ("OutOfTime", "Busy")


def pairs(changes: list[str] | None) -> dict[str, Any]:
    """{"steps": "500"} of ["steps=500"]; raises ValueError for a text without "="."""
    split = [change.partition("=") for change in changes or []]
    for name, equals, _ in split:
        if not equals:
            raise ValueError(f"--set {name}: write it as field=value.")
    return {name: value for name, _, value in split}
