"""Tables: grids of runs. A paper declares them in its `tables.py`; here they are found, run and shown.

`nucbook/papers/<paper>/tables.py` holds METHODS, how a run is made, and TABLES, which runs there are:

    @stage("*")
    def supervised(desk, config, samples):                  # kept in the cache, shared by rows
        segmenter, history = train(samples, config, **desk.orders())
        desk.finished(history)
        return {"unet": segmenter.networks["unet"].state_dict(), "seconds": history.seconds}

    def run(row, context):
        made = context.desk.do(supervised, context.config, data.load(row.dataset, "train"))
        segmenter = ...                                     # networks(context.config) with made["unet"]
        measured = {name: Measured(...) for name in context.measured_on}
        return RunResult(measured, seconds=made["seconds"])

    METHODS = {"unet": Recipe(Config, run)}
    TABLES = {"floor": Table("baselines", "floor", "What labels are worth.", columns={"AJI": "aji"}, rows=(
        Row("U-Net", "baselines.unet", "kumar", measured_on=("kumar", "tnbc", "consep")),
    ))}

`nucbook table baselines/floor` then is `run_table(find("baselines/floor"))`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from types import ModuleType

import pandas as pd

import nucbook.papers
from nucbook.rows import Recipe, Row, Table


@cache
def published() -> pd.DataFrame:
    """What the five papers print, a number a row.

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
    tables = _module(paper).TABLES
    if name not in tables:
        raise ValueError(f"no table {address!r}; there are {', '.join(f'{paper}/{key}' for key in tables)}.")
    return tables[name]


def recipe(method: str) -> Recipe:
    """How runs of a method ("baselines.unet") are made; raises ValueError that lists those there are."""
    paper, _, name = method.partition(".")
    recipes = _module(paper).METHODS
    if name not in recipes:
        raise ValueError(f"no method {method!r}; there are {', '.join(f'{paper}.{key}' for key in recipes)}.")
    return recipes[name]


def select(table: Table, names: list[str] | None) -> list[Row]:
    """Rows by name or alias, all for None; raises ValueError that lists them."""
    if not names:
        return list(table.rows)
    known = {key for row in table.rows for key in (row.name, row.alias) if key}
    unknown = [name for name in names if name not in known]
    if unknown:
        rows = ", ".join(dict.fromkeys(f"{row.name} ({row.alias or row.name})" for row in table.rows))
        raise ValueError(f"no row {unknown[0]!r} in {table.paper}/{table.name}; its rows are {rows}.")
    return [row for row in table.rows if row.name in names or row.alias in names]


def _module(paper: str) -> ModuleType:
    if paper not in papers():
        raise ValueError(f"no tables of {paper!r}; papers with tables: {', '.join(papers()) or 'none yet'}.")
    return importlib.import_module(f"nucbook.papers.{paper}.tables")
