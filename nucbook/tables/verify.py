"""Is a stored number what comes out today? Trained again without the cache, compared with the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from nucbook.results import Results
from nucbook.rows import Table
from nucbook.tables.plan import plan
from nucbook.tables.run import require_all, result_of
from nucbook.training.stages import StageRunner

TOLERANCE = 0.02  # of a metric in [0, 1]: what another machine may do to a training


def verify(
    table: Table,
    rows: Sequence[str] | None,
    seeds: int | Sequence[int],
    profile: str,
    labels: str | None = None,
    results: Results | None = None,
    progress: bool = False,
) -> Iterator[str]:
    """Train rows again in an empty cache; one text for each row, seed, data set and metric.

    "SPN+IEN AJI: stored 0.487, new 0.485, within .02: True". Columns of p-values and costs are left out.
    Raises ValueError for an unknown row, MissingDataset.
    """
    store = results or Results(table.paper)
    with tempfile.TemporaryDirectory() as folder:
        jobs, _ = plan(table, rows, seeds, profile, None, Results(f"{folder}/none.jsonl"), labels)
        require_all(table, jobs)
        frame = store.frame()
        frame = frame[(frame.table == table.name) & (frame.profile == profile)]
        for job in jobs:
            runner = StageRunner(job.run.seed, f"{folder}/stages", progress=progress)
            made = result_of(table, job, runner)
            for row, dataset in job.cells:
                same = (frame.row == row.name) & (frame.labels == row.labels) & (frame.seed == job.run.seed)
                kept = frame[same]
                kept = kept[[config["measured_on"] == dataset for config in kept["config"]]]
                found = made.measured[dataset].metrics
                yield from _compared(table, f"{row.name} ", job.run.identity, kept, found)


def _compared(
    table: Table, row: str, identity: str, kept: pd.DataFrame, found: Mapping[str, float | None]
) -> Iterator[str]:
    """One text for each metric of a cell: what is stored of it in `kept`, and what was found now."""
    for name, column in table.columns.items():
        new = found.get(column.stored)
        if column.against or column.where or new is None or column.key in ("parameters", "flops"):
            continue
        if not len(kept):
            yield f"{row}{name}: nothing stored, new {new:.3f}"
            continue
        old = float(kept[column.stored].iloc[-1])
        older = "" if kept["run"].iloc[-1] == identity else " (older)"
        near = abs(new - old) <= TOLERANCE
        yield f"{row}{name}: stored {old:.3f}{older}, new {new:.3f}, within .02: {near}"
