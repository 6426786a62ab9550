"""Tables: grids of runs. A paper declares them in its `tables.py`; here they are found, run and shown.

`nucbook/papers/<paper>/tables.py` holds TABLES, pure data:

    TABLES = {"slides": Table("baselines", "slides", "What labels are worth.", columns={"AJI": "aji"}, rows=(
        Row("U-Net", "unet", "kumar", measured_on=("kumar", "tnbc", "consep")),
    ))}

`nucbook table baselines/slides` then is `run_table(find("baselines/slides"))`: the method "unet" is found by
its name, its samples are prepared, it is trained in stages and measured.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.util import find_spec

import pandas as pd

import nucbook.papers
from nucbook.rows import Row, Table


@cache
def published() -> pd.DataFrame:
    """What the five papers print, one number per row.

    Columns: paper, table, dataset, labels, method, metric, value, std, source. Values are in the
    paper's own unit, some in per cent; source is printed, running text, derived or inferred label.
    """
    with files("nucbook.papers").joinpath("published.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype={"table": str})


def papers() -> list[str]:
    """The papers that have tables."""
    rooms = [room.name for room in pkgutil.iter_modules(nucbook.papers.__path__) if room.ispkg]
    return sorted(room for room in rooms if find_spec(f"nucbook.papers.{room}.tables"))


def find(address: str) -> Table:
    """The table of an address, as "ircr/2"; raises ValueError that lists those there are."""
    paper, _, name = address.partition("/")
    tables = tables_of(paper)
    if name not in tables:
        what = f"no table {address!r}" if name else f"{address!r} names no table: write paper/table"
        raise ValueError(f"{what}; there are {', '.join(f'{paper}/{key}' for key in tables)}.")
    return tables[name]


def select(table: Table, names: Sequence[str] | None, labels: str | None = None) -> list[Row]:
    """Rows by name or alias, all for None, and by their labels; raises ValueError with the nearest names."""
    known = {key: row for row in table.rows for key in (row.name, row.alias) if key}
    for name in names or ():
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.4) or list(known)[:3]
            raise ValueError(
                f"no row {name!r} in {table.address}; nearest: {', '.join(near)}. "
                f"`nucbook table {table.address} --list` shows all {len(table.rows)}."
            )
    of_labels = {row.labels for row in table.rows}
    if labels is not None and labels not in of_labels:
        raise ValueError(
            f"no row of {table.address} has labels {labels!r}; there are {', '.join(sorted(of_labels))}."
        )
    chosen = [row for row in table.rows if not names or row.name in names or row.alias in names]
    return [row for row in chosen if labels is None or row.labels == labels]


def tables_of(paper: str) -> dict[str, Table]:
    """The tables of a paper by name; raises ValueError that lists the papers that have some."""
    if paper not in papers():
        raise ValueError(f"no tables of {paper!r}; papers with tables: {', '.join(papers()) or 'none yet'}.")
    return importlib.import_module(f"nucbook.papers.{paper}.tables").TABLES
