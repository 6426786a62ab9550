"""What a table lacks: its runs, compared with what is stored. No torch, so that it takes an instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nucbook.method import config_of
from nucbook.profile import flat, identity, resolve
from nucbook.profile import profile as profile_in_force
from nucbook.results import Results
from nucbook.rows import Row, Run, Table
from nucbook.tables import select

Line = dict[str, Any]


@dataclass
class Job:
    """One run, and the cells of the table it still has to fill: (row, data set) each."""

    run: Run
    config: Any
    profile: str
    cells: list[tuple[Row, str]] = field(default_factory=list)

    @property
    def measured_on(self) -> tuple[str, ...]:
        """The data sets of the cells."""
        return tuple(dict.fromkeys(dataset for _, dataset in self.cells))


def plan(
    table: Table,
    rows: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 1,
    profile: str | None = None,
    changes: Mapping[str, Any] | None = None,
    results: Results | None = None,
    labels: str | None = None,
) -> tuple[list[Job], list[Line]]:
    """What is missing: jobs, one a run, and lines to be copied from the same runs in other tables.

    Other tables are those of all papers whose results lie in the same folder. Arguments as `run_table`.
    """
    results = results or Results(table.paper)
    chosen = profile_in_force(profile)
    here, anywhere = set(), {}
    for each in results.everywhere():
        for line in each.lines():
            measured = (line["run"], line["profile"], line["config"]["measured_on"], _part(line))
            anywhere[measured] = line
            if (line["paper"], line["table"]) == (table.paper, table.name):
                here.add((*measured, line["row"], line["labels"]))
    jobs: dict[str, Job] = {}
    copies = []
    for row, run, config in runs(table, rows, seeds, chosen, changes, labels):
        # At quick every set is the same simulated one: a row is measured on it once.
        for dataset in row.measured_on[:1] if chosen == "quick" else row.measured_on:
            measured = (run.identity, chosen, dataset, as_list(table.tested(dataset)))
            if (*measured, row.name, row.labels) in here:
                continue
            if measured in anywhere:
                copies.append(
                    {**anywhere[measured], **place(table, row, dataset, anywhere[measured]["data"])}
                )
            else:
                jobs.setdefault(run.identity, Job(run, config, chosen)).cells.append((row, dataset))
    return list(jobs.values()), copies


def runs(
    table: Table,
    rows: Sequence[str] | None,
    seeds: int | Sequence[int],
    profile: str,
    changes: Mapping[str, Any] | None = None,
    labels: str | None = None,
) -> Iterator[tuple[Row, Run, Any]]:
    """Each run of some rows: (row, run, configuration). What `changes` makes of a row has its own name."""
    for row in select(table, rows, labels):
        kind = config_of(row.method)
        config = resolve(kind, row.dataset, profile, row.changes, changes)
        if config != resolve(kind, row.dataset, profile, row.changes):
            row = replace(row, name=", ".join([row.name, *(f"{k}={v}" for k, v in (changes or {}).items())]))
        init = next(
            (value for name, value in flat(config).items() if name.rpartition(".")[2] == "init"), "scratch"
        )
        for seed in range(seeds) if isinstance(seeds, int) else seeds:
            for fold in range(row.folds):
                named = identity(config)
                yield (
                    row,
                    Run(row.method, named, row.dataset, row.dealt, row.labels, fold, seed, init),
                    config,
                )


def place(table: Table, row: Row, dataset: str, data: str) -> Line:
    """Where in a table a line belongs; what was measured on simulated images bears no real set's name."""
    return {
        "paper": table.paper,
        "table": table.name,
        "row": row.name,
        "dataset": table.spell(dataset) if data == "real" else "simulated",
        "labels": row.labels,
    }


def as_list(part: str | Sequence[str]) -> tuple[str, ...]:
    """A part of a data set, or several, as a tuple."""
    return (part,) if isinstance(part, str) else tuple(part)


def _part(line: Line) -> tuple[str, ...]:
    return as_list(line["config"].get("part", "test"))
