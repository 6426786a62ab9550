"""The stored runs of a table: which lines are of what a row is today, and which of what it was."""

from __future__ import annotations

import pandas as pd

from nucbook.method import UnknownMethod
from nucbook.results import Results
from nucbook.rows import Table
from nucbook.tables.plan import runs

CELL = ["row", "dataset", "labels"]


def stored(table: Table, profile: str, results: Results | None = None) -> pd.DataFrame:
    """The runs of a table at a profile, with a column `older`: whether the row has changed since.

    results : where runs are stored; None = the paper's file.
    """
    frame = (results or Results(table.paper)).frame()
    frame = frame[(frame.paper == table.paper) & (frame.table == table.name) & (frame.profile == profile)]
    return frame.assign(older=older(table, profile, frame))


def current(table: Table, profile: str, results: Results | None = None) -> pd.DataFrame:
    """`stored`, but where a cell has runs of what its row is today, those alone."""
    return newest(stored(table, profile, results))


def listed(values: pd.Series, digits: int = 3) -> str:
    """Runs as a text: one or two as they are, of three or more mean ± standard deviation; "" for none."""
    if len(values) < 3:
        return ", ".join(f"{value:.{digits}f}" for value in values)
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def newest(frame: pd.DataFrame) -> pd.DataFrame:
    """Of a frame that `stored` returns: where a cell has runs of what its row is today, those alone."""
    renewed = ~frame.groupby(CELL)["older"].transform("all") if len(frame) else frame.older
    return frame[~(frame.older & renewed)]


def older(table: Table, profile: str, frame: pd.DataFrame) -> pd.Series:
    """Which lines of a frame are of what their row was: it, or its method, has changed since.

    None are where a method of the table is not registered here: what its rows are today is not known then.
    """
    seeds = sorted(set(frame["seed"]))
    try:
        known = {(row.name, row.labels, run.identity) for row, run, _ in runs(table, None, seeds, profile)}
    except UnknownMethod:
        return pd.Series(False, frame.index)
    rows = {row.name for row in table.rows}
    cells = zip(frame["row"], frame["labels"], frame["run"])
    return pd.Series([c[0] in rows and c not in known for c in cells], frame.index, bool)
