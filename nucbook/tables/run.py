"""Run what is missing of a table: stop cleanly at a time limit, go on later, write each result at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import Any

import torch

from nucbook.results import Results
from nucbook.rows import Context, Measured, Row, Run, RunResult, Table
from nucbook.tables import recipe, select
from nucbook.tables.machine import cores, device_name, versions
from nucbook.training.prepare import agreed, first_process
from nucbook.training.profile import profile as profile_in_force
from nucbook.training.profile import resolve, schedule
from nucbook.training.stages import Desk, OutOfTime

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


@dataclass
class Outcome:
    """What became of a call.

    done    : runs that were measured now.
    copied  : how many cells took the result of the same run in another table.
    waiting : runs that the time limit left for later.
    """

    done: list[Run] = field(default_factory=list)
    copied: int = 0
    waiting: list[Run] = field(default_factory=list)


def run_table(
    table: Table,
    *,
    rows: Sequence[str] | None = None,
    seeds: int = 1,
    profile: str | None = None,
    minutes: float | None = None,
    changes: Mapping[str, Any] | None = None,
    results: Results | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    progress: bool = True,
) -> Outcome:
    """Run the rows of a table that have no result yet.

    rows     : names or aliases; None = all.
    seeds    : runs of each row, with seeds 0, 1, ….
    minutes  : time limit of this call. What is being trained keeps a checkpoint; the next call goes on.
    changes  : config fields changed from the command line, over the row's own. What comes of it is a row
               of its own, "SPN, spn_steps=500", and leaves the one it was made from as it is.
    results  : where lines go; None = the paper's file.
    workers  : processes at a time on this machine; 1 = in this one.
    executor : runs the jobs elsewhere instead, as `dask.distributed.Client().get_executor()` on a cluster.

    Only this process writes results, one line at a time. A run that fails does not stop the others;
    the errors are raised together at the end, as an ExceptionGroup. Raises ValueError for an unknown
    row, method or config field.
    """
    results = results or Results(table.paper)
    deadline = None if minutes is None else time.time() + 60 * minutes
    jobs, copies = agreed(plan(table, rows, seeds, profile, changes, results))
    outcome, failed = Outcome(copied=len(copies)), []
    _write(results, copies)
    for job, made in _executed(table, jobs, deadline, workers, executor, progress):
        if isinstance(made, list):
            outcome.done.append(job.run)
            _write(results, made)
        elif isinstance(made, OutOfTime):
            outcome.waiting.append(job.run)
        else:
            row, _ = job.cells[0]
            made.add_note(f"in row {row.name!r}, {row.labels}, seed {job.run.seed}, fold {job.run.fold}")
            failed.append(made)
    if failed:
        raise ExceptionGroup(f"{len(failed)} runs of {table.paper}/{table.name} failed", failed)
    return outcome


def plan(
    table: Table,
    rows: Sequence[str] | None,
    seeds: int,
    profile: str | None,
    changes: Mapping[str, Any] | None,
    results: Results,
) -> tuple[list[Job], list[Line]]:
    """What is missing: jobs, one a run, and lines to be copied from the same runs in other tables.

    Other tables are those of all papers whose results lie in the same folder.
    """
    chosen = profile_in_force(profile)
    here, anywhere = set(), {}
    for path in sorted({results.path, *results.path.parent.glob("*.jsonl")}):
        for line in Results(path).lines():
            measured = (line["run"], line["profile"], line["config"]["measured_on"])
            anywhere[measured] = line
            if (line["paper"], line["table"]) == (table.paper, table.name):
                here.add((*measured, line["row"], line["labels"]))
    jobs: dict[str, Job] = {}
    copies = []
    for row, run, config in _runs(table, rows, seeds, chosen, changes):
        for dataset in row.measured_on:
            measured = (run.identity, chosen, dataset)
            if (*measured, row.name, row.labels) in here:
                continue
            if measured in anywhere:
                copies.append({**anywhere[measured], **_place(table, row, dataset)})
            else:
                jobs.setdefault(run.identity, Job(run, config, chosen)).cells.append((row, dataset))
    return list(jobs.values()), copies


def _runs(table: Table, rows, seeds: int, profile: str, changes) -> Iterator[tuple[Row, Run, Any]]:
    for row in select(table, rows):
        method = recipe(row.method).config
        config = resolve(method, row.dataset, profile, row.changes, changes)
        if config != resolve(method, row.dataset, profile, row.changes):
            changed = (f"{name}={value}" for name, value in changes.items())
            row = replace(row, name=", ".join([row.name, *changed]))
        init = getattr(config, "init", "scratch")
        for seed in range(seeds):
            for fold in range(row.folds):
                run = Run(row.method, asdict(config), row.dataset, row.split, row.labels, fold, seed, init)
                yield row, run, config


def do(table: Table, job: Job, deadline: float | None, progress: bool) -> list[Line]:
    """One job, wherever it runs; returns its results lines, one a cell.

    deadline : seconds since the epoch, or None.
    Raises OutOfTime at the deadline, ValueError where the recipe leaves out a data set.
    """
    minutes = None if deadline is None else max(deadline - time.time(), 0) / 60
    desk = Desk(seed=job.run.seed, minutes=minutes, progress=progress)
    row, _ = job.cells[0]
    context = Context(job.run, job.config, job.profile, job.measured_on, desk)
    made = recipe(row.method).run(row, context)
    left_out = [name for name in job.measured_on if name not in made.measured]
    if left_out:
        raise ValueError(f"the recipe of {row.method!r} did not measure {', '.join(left_out)}.")
    return _lines(table, job, made)


def _lines(table: Table, job: Job, made: RunResult) -> list[Line]:
    return [
        _place(table, row, dataset)
        | _numbers(made.measured[dataset])
        | {
            "run": job.run.identity,
            "fold": job.run.fold,
            "seed": job.run.seed,
            "profile": job.profile,
            "schedule": schedule(job.config, row.dataset, job.profile, row.changes),
            "init": made.init,
            "selection": made.selection,
            "seconds": round(made.seconds, 1),
            "device": device_name(),
            "versions": versions(),
            "config": {
                **job.run.config,
                "method": job.run.method,
                "learnt_from": job.run.dataset,
                "split": job.run.split,
                "measured_on": dataset,
            },
        }
        for row, dataset in job.cells
    ]


def _place(table: Table, row: Row, dataset: str) -> Line:
    return {
        "paper": table.paper,
        "table": table.name,
        "row": row.name,
        "dataset": table.spell(dataset),
        "labels": row.labels,
    }


def _numbers(measured: Measured) -> Line:
    return {
        "data": measured.data,
        "metrics": measured.metrics,
        "images": len(measured.per_image),
        "per_image": measured.per_image,
    }


def _write(results: Results, written: Sequence[Line]):
    if first_process():
        for line in written:
            results.append(line)


def _executed(
    table: Table,
    jobs: Sequence[Job],
    deadline: float | None,
    workers: int,
    executor: Executor | None,
    progress: bool,
) -> Iterator[tuple[Job, list[Line] | Exception]]:
    """Each job with its lines or its error, as they come."""
    if executor is None and workers == 1:
        for job in jobs:
            try:
                made = do(table, job, deadline, progress)
            except Exception as error:
                made = error
            yield job, made
        return
    threads = max(cores() // workers, 1)
    own = ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,))
    with own if executor is None else nullcontext(executor) as pool:
        futures = {pool.submit(do, table, job, deadline, False): job for job in jobs}
        for future in as_completed(futures):
            yield futures[future], future.exception() or future.result()
