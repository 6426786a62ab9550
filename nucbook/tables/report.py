"""What is stored of a table and what is missing, as text for the command line. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from nucbook.results import Results
from nucbook.rows import Table
from nucbook.tables.plan import plan
from nucbook.tables.render import as_text, compare, numbers


def printed(table: Table, profile: str, results: Results | None = None) -> str:
    """What was measured at a profile beside what was published; simulated runs stand alone."""
    results = results or Results(table.paper)
    if profile in ("short", "paper"):
        found = compare(table, profile, results)
        run = found.xs("runs", axis=1, level=1).gt(0).any(axis=1)
        return as_text(found[run], table, profile).to_string() if run.any() else _nothing(table, profile)
    frame = results.frame()
    frame = frame[(frame.table == table.name) & (frame.profile == profile)]
    if not len(frame):
        return _nothing(table, profile)
    values = {name: numbers(frame, column) for name, column in table.columns.items() if not column.against}
    own = frame[["row", "labels"]].assign(**values)
    mean = own.groupby(["row", "labels"], sort=False).mean().round(3)
    counts = own.groupby(["row", "labels"], sort=False).size().rename("runs")
    return f"simulated tissue, no measurement on slides\n{mean.join(counts).to_string()}"


def listed(table: Table, profile: str, results: Results | None = None) -> str:
    """The rows of a table: alias, name, what each learns from, and how many runs of it are stored."""
    frame = (results or Results(table.paper)).frame()
    frame = frame[(frame.table == table.name) & (frame.profile == profile)]
    rows = [
        {
            "alias": row.alias or row.name,
            "row": row.name,
            "method": row.method,
            "data": row.dataset,
            "labels": row.labels,
            f"runs at {profile}": frame[(frame.row == row.name) & (frame.labels == row.labels)].run.nunique(),
        }
        for row in table.rows
    ]
    return f"{table.address}: {table.caption}\n{pd.DataFrame(rows).to_string(index=False)}"


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
    stored = pd.concat([each.frame() for each in results.everywhere()])
    lines, total, unknown = [], 0.0, 0
    for job in jobs:
        row, _ = job.cells[0]
        seconds = typical(stored, job.run.method, profile, job.run.dataset)
        unknown += seconds is None
        total += seconds or 0.0
        time = "time unknown" if seconds is None else f"about {_minutes(seconds)}"
        lines.append(
            f"{row.name}, {row.labels}, {row.dataset}, seed {job.run.seed}, fold {job.run.fold}: {time}"
        )
    lines += [f"{row['row']}, {row['labels']}: copied from {row['table']}" for row in copies]
    more = f" and {unknown} of unknown time" if unknown else ""
    return "\n".join(
        [*lines, f"{len(jobs)} runs to do, about {_minutes(total)}{more}; {len(copies)} to copy."]
    )


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
