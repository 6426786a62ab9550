"""`nucbook cache`: which stages are kept, and removing those that nothing reads any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nucbook.cli.options import explained

if TYPE_CHECKING:
    from nucbook.cache import Kept

app = typer.Typer(help="Finished stages of trainings: list them, prune them.")


@app.callback(invoke_without_command=True)
def list_stages(context: typer.Context) -> None:
    """Each kept stage: its name, size, age, and what it is of; then the total."""
    if context.invoked_subcommand:
        return
    from nucbook.cache import kept, stages_folder

    stages = kept()
    for line in listed(stages):
        typer.echo(line)
    typer.echo(f"{_count(stages)} in {stages_folder()}")
    if older := [stage for stage in stages if stage.reachable is False]:
        typer.echo(f"of them {_count(older)} of older code: `nucbook cache prune --unused` removes them")


@app.command()
def prune(
    older_than: Annotated[
        float | None, typer.Option(help="Stages that were last written so many days ago.")
    ] = None,
    unused: Annotated[
        bool, typer.Option("--unused", help="Stages of older code, which nothing reads any more.")
    ] = False,
) -> None:
    """Remove stages; of two conditions both must hold. A stage that a process is at is left."""
    from nucbook.cache import kept
    from nucbook.cache import prune as remove

    with explained():
        if older_than is None and not unused:
            raise ValueError("prune which stages? Give --unused, --older-than DAYS, or both.")
        chosen = [
            stage
            for stage in kept()
            if (older_than is None or stage.age >= older_than * 86400)
            and (not unused or stage.reachable is False)
        ]
        removed, busy = remove(chosen)
        typer.echo(f"removed {_count(removed)}")
        for stage in busy:
            typer.echo(f"left {stage.stage}: a process is at it")


def listed(stages: Sequence[Kept]) -> list[str]:
    """A line for each stage; of its config the fields in which the stages of its name differ."""
    width = max((len(stage.stage) for stage in stages), default=0)
    lines = []
    for stage in stages:
        others = [other.config for other in stages if other.stage == stage.stage]
        own = [
            f"{name} {value}"
            for name, value in stage.config.items()
            if any(other.get(name) != value for other in others)
        ]
        told = [
            "" if stage.seed is None else f"seed {stage.seed}",
            stage.samples,
            *own,
            "" if stage.finished else "unfinished",
            "of older code" if stage.reachable is False else "",
        ]
        about = ", ".join(filter(None, told))
        lines.append(f"{stage.stage:<{width}}  {_size(stage.size):>9}  {_age(stage.age):>10}  {about}")
    return lines


def _count(stages: Sequence[Kept]) -> str:
    size = _size(sum(stage.size for stage in stages))
    return f"{len(stages)} stage{'s' * (len(stages) != 1)}, {size}"


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"


def _age(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
