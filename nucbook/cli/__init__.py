"""The command `nucbook`: chores of a checkout, and the library from the command line.

The commands import PyTorch when they need it, so that `--help` and the `data` commands answer at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from nucbook import __version__, house
from nucbook.cli import cache, config, data, models, tables

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # a local may be a whole slide
    help="Segment cell nuclei with few labels: the book and the library under it.",
)
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")
for command in (models.train, models.predict, models.score, models.pretrain, tables.table, config.config):
    app.command()(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"nucbook {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def book() -> None:
    """Install what is missing, execute the chapters and build the HTML (as `make book`)."""
    raise typer.Exit(house.main("book"))


@app.command()
def test() -> None:
    """Install what is missing, run the unit tests and every notebook (as `make test`)."""
    raise typer.Exit(house.main("test"))


@app.command()
def lab() -> None:
    """Install what is missing and open a copy of the chapters in JupyterLab (as `make lab`)."""
    raise typer.Exit(house.main("lab"))
