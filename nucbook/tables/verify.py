"""Is a stored number what comes out today? Trained again without the cache, held against the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

from nucbook.results import Results
from nucbook.rows import Table
from nucbook.tables.plan import plan
from nucbook.tables.run import result_of
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
        frame = store.frame()
        frame = frame[(frame.table == table.name) & (frame.profile == profile)]
        for job in jobs:
            runner = StageRunner(job.run.seed, f"{folder}/stages", progress=progress)
            made = result_of(table, job, runner)
            for row, dataset in job.cells:
                kept = frame[
                    (frame.row == row.name) & (frame.labels == row.labels) & (frame.seed == job.run.seed)
                ]
                named = [config["measured_on"] == dataset for config in kept["config"]]
                kept = kept[named]
                for name, column in table.columns.items():
                    new = made.measured[dataset].metrics.get(column.stored)
                    if column.against or column.where or new is None or column.key in ("parameters", "flops"):
                        continue
                    what = f"{row.name} {name}: "
                    if not len(kept):
                        yield f"{what}nothing stored, new {new:.3f}"
                        continue
                    old = float(kept[column.stored].iloc[-1])
                    older = "" if kept["run"].iloc[-1] == job.run.identity else " (older)"
                    near = abs(new - old) <= TOLERANCE
                    yield f"{what}stored {old:.3f}{older}, new {new:.3f}, within .02: {near}"
