"""`nucbook data …`: which data sets there are, where they are looked for, whether they are whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nucbook.data.catalog import Entry

app = typer.Typer(no_args_is_help=True, help="Data sets: list, where, check, pack.")

Name = Annotated[str, typer.Argument(help="A data set's name, as in `nucbook data list`.")]


@app.command("list")
def list_sets() -> None:
    """All data sets: what they hold, under which licence, and whether they are here."""
    from nucbook.data.catalog import CATALOG

    for name, entry in CATALOG.items():
        nuclei = f"{entry.nuclei:,} nuclei, " if entry.nuclei else ""
        here = "here" if _is_here(name) else "not here"
        typer.echo(f"{name:<11}{entry.images:,} images, {nuclei}{entry.licence}  [{here}]")
        typer.echo(f"{'':<11}{entry.holds}")


@app.command()
def where(name: Name) -> None:
    """The folder a data set is looked for in, the files it must hold, and where to get them."""
    from nucbook import data

    entry = _entry(name)
    typer.echo(f"{entry.title} is {'' if _is_here(name) else 'not '}here.\n{entry.how_to_get(data.root())}")


@app.command()
def check(name: Annotated[str, typer.Argument(help="A data set's name, or a folder of your own.")]) -> None:
    """Count images and nuclei, and list every file that cannot be used."""
    from nucbook.data.check import check as check_set
    from nucbook.data.item import MissingDataset

    try:
        report = check_set(name)
    except (MissingDataset, ValueError) as error:
        raise _stop(error) from error
    typer.echo(str(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command()
def pack(
    name: Name,
    out: Annotated[Path, typer.Option(help="Folder that the pack is written into.")],
    max_mb: Annotated[float, typer.Option(help="Size that it must not pass, in MB (10⁶ bytes).")] = 40,
) -> None:
    """Write a small lossless copy of a data set; use it by setting NUCBOOK_DATA to the folder."""
    from nucbook import data
    from nucbook.data import pack as packing
    from nucbook.data.item import MissingDataset, UnreadableFile

    entry = _entry(name)
    try:
        parts = {part: data.items(name, part) for part in entry.parts or ("all",)}
        packed = packing.write(name, parts, out, max_mb)
    except (MissingDataset, UnreadableFile, FileExistsError, ValueError) as error:
        raise _stop(error) from error
    for part in parts:
        left_out = packed.left_out.get(part, [])
        dropped = f"; {len(left_out)} did not fit: {', '.join(left_out)}" if left_out else ""
        typer.echo(f"{part}: {len(packed.taken.get(part, []))} images{dropped}")
    typer.echo(f"{packed.size / 1e6:.1f} MB in {packed.folder}")


def _entry(name: str) -> Entry:
    from nucbook.data.catalog import CATALOG

    if name not in CATALOG:
        raise _stop(ValueError(f"no data set {name!r}; there are {', '.join(CATALOG)}."))
    return CATALOG[name]


def _is_here(name: str) -> bool:
    from nucbook import data
    from nucbook.data.item import MissingDataset, UnreadableFile

    try:
        return bool(data.items(name, "all"))
    except (MissingDataset, UnreadableFile):
        return False


def _stop(error: Exception) -> typer.Exit:
    typer.echo(f"nucbook: {error}", err=True)
    return typer.Exit(1)
