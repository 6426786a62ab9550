"""What is stored of a table and what is missing, as text for the command line. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from nucbook.results import Results
from nucbook.rows import Table
from nucbook.tables import papers, select, tables_of
from nucbook.tables.plan import plan
from nucbook.tables.render import as_text, compare, numbers
from nucbook.tables.stored import stored


def printed(
    table: Table,
    profile: str,
    results: Results | None = None,
    rows: Sequence[str] | None = None,
    labels: str | None = None,
) -> str:
    """What was measured at a profile beside what was published; simulated runs stand alone.

    rows, labels : as `tables.select` takes them.
    """
    results = results or Results(table.paper)
    chosen = {(row.name, row.labels) for row in select(table, rows, labels)}
    everything = rows is None and labels is None
    if profile in ("short", "paper"):
        found = compare(table, profile, results)
        run = found.xs("runs", axis=1, level=1).gt(0).any(axis=1).to_numpy()
        run = run & np.array([everything or (row, of) in chosen for row, _, of in found.index], bool)
        return as_text(found[run], table, profile).to_string() if run.any() else _nothing(table, profile)
    frame = stored(table, profile, results)
    frame = frame[[everything or cell in chosen for cell in zip(frame["row"], frame["labels"])]]
    if not len(frame):
        return _nothing(table, profile)
    values = {name: numbers(frame, column) for name, column in table.columns.items() if not column.against}
    own = frame[["row", "labels"]].assign(**values)
    cells = own.groupby(["row", "labels"], sort=False)
    shown = cells.mean().round(3).join(cells.size().rename("runs"))
    shown["older"] = frame.groupby(["row", "labels"], sort=False)["older"].sum()
    return f"simulated tissue, no measurement on slides\n{shown.to_string()}"


def tables_listed() -> str:
    """The tables there are, with what each compares."""
    found = [table for paper in papers() for table in tables_of(paper).values()]
    width = max(len(table.address) for table in found)
    return "\n".join(f"{table.address:<{width}}  {table.caption}" for table in found)


def listed(
    table: Table,
    profile: str,
    results: Results | None = None,
    rows: Sequence[str] | None = None,
    labels: str | None = None,
) -> str:
    """The rows of a table: alias, name, what each learns from, and how many runs of it are stored.

    Older runs, those of what the row was before it, or its method, changed, are counted apart.
    """
    frame = stored(table, profile, results)
    frame["learnt"] = [config.get("learnt_from") for config in frame["config"]]
    found = []
    for row in select(table, rows, labels):
        same = (frame.row == row.name) & (frame.labels == row.labels) & (frame.learnt == row.dataset)
        own = frame[same]
        found.append(
            {
                "alias": row.alias or row.name,
                "row": row.name,
                "method": row.method,
                "data": row.dataset,
                "labels": row.labels,
                f"runs at {profile}": own[~own.older].run.nunique(),
                "older": own[own.older].run.nunique(),
            }
        )
    place = "; simulated tissue in the place of every data set" if profile == "quick" else ""
    head = f"{table.address}, profile {profile}{place}: {table.caption}"
    return f"{head}\n{pd.DataFrame(found).to_string(index=False)}"


def dry_run(
    table: Table,
    rows: Sequence[str] | None,
    seeds: int | Sequence[int],
    profile: str,
    changes: Mapping[str, Any],
    labels: str | None = None,
    results: Results | None = None,
) -> str:
    """What a call would run, with the time that stored runs of its kind took."""
    results = results or Results(table.paper)
    jobs, copies = plan(table, rows, seeds, profile, changes, results, labels)
    before = pd.concat([each.frame() for each in results.everywhere()])
    lines, total, unknown = [], 0.0, 0
    for job in jobs:
        row, _ = job.cells[0]
        seconds = typical(before, job.run.method, profile, job.run.dataset)
        unknown += seconds is None
        total += seconds or 0.0
        time = "time unknown" if seconds is None else f"about {_minutes(seconds)}"
        lines.append(
            f"{row.name}, {row.labels}, {row.dataset}, seed {job.run.seed}, fold {job.run.fold}: {time}"
        )
    lines += [f"{row['row']}, {row['labels']}: copied from {row['table']}" for row in copies]
    whole = f"about {_minutes(total)}" + (f" and {unknown} of unknown time" if unknown else "")
    if jobs and unknown == len(jobs):
        whole = "time unknown"
    past = int(stored(table, profile, results).older.sum())
    older = f" {past} stored results are older than their rows and do not count." if past else ""
    return "\n".join([*lines, f"{len(jobs)} runs to do, {whole}; {len(copies)} to copy.{older}"])


def typical(stored: pd.DataFrame, method: str, profile: str, dataset: str) -> float | None:
    """Median seconds of stored runs of a method at a profile, on the data set where there are such."""
    if not len(stored):
        return None
    ran = stored.assign(
        method=[config["method"] for config in stored["config"]],
        learnt=[config.get("learnt_from") for config in stored["config"]],
    )
    ran = ran[(ran.method == method) & (ran.profile == profile)]
    own = ran[ran.learnt == dataset]
    chosen = own if len(own) else ran
    return float(chosen.seconds.median()) if len(chosen) else None


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _nothing(table: Table, profile: str) -> str:
    return f"nothing is stored of {table.address} at profile {profile}."
