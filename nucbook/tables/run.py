"""Run what is missing of a table: stop cleanly at a time limit, go on later, write each result at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from typing import Any

import torch

from nucbook import measure
from nucbook.method import find
from nucbook.profile import schedule
from nucbook.provenance import Provenance, clean, together
from nucbook.results import Results
from nucbook.rows import Measured, Run, RunResult, Table
from nucbook.segmenter import train_on
from nucbook.tables.machine import cores, device_name, versions
from nucbook.tables.plan import Job, Line, as_list, place, plan
from nucbook.training.prepare import agreed, first_process
from nucbook.training.stages import Busy, OutOfTime, StageRunner

POLL = 1.0  # s between looks at what other processes are doing


class DirtyTree(ValueError):
    """A training was asked for in a checkout that differs from its commit."""


@dataclass
class Outcome:
    """What became of a call.

    done      : runs that were measured now.
    copied    : how many cells took the result of the same run in another table.
    waiting   : runs that the time limit left for later.
    elsewhere : runs that another process measured meanwhile.
    """

    done: list[Run] = field(default_factory=list)
    copied: int = 0
    waiting: list[Run] = field(default_factory=list)
    elsewhere: list[Run] = field(default_factory=list)


def run_table(
    table: Table,
    *,
    rows: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 1,
    profile: str | None = None,
    minutes: float | None = None,
    changes: Mapping[str, Any] | None = None,
    labels: str | None = None,
    results: Results | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    progress: bool = True,
    dirty: bool = True,
) -> Outcome:
    """Run the rows of a table that have no result yet.

    rows     : names or aliases; None = all.
    seeds    : runs of each row, with seeds 0, 1, …, or the seeds themselves.
    minutes  : time limit of this call. What is being trained keeps a checkpoint; the next call goes on.
    changes  : config fields changed from the command line, over the row's own. What comes of it is a row
               of its own, "SPN, spn_steps=500", and leaves the one it was made from as it is.
    labels   : only the rows of these labels, as "1/32".
    results  : where lines go; None = the paper's file.
    workers  : processes at a time on this machine; 1 = in this one.
    executor : runs the jobs elsewhere instead, as `dask.distributed.Client().get_executor()` on a cluster.
    dirty    : whether a checkout that differs from its commit may train (`nucbook.provenance.clean`); its
               lines bear `clean: false`. The command line asks for `--dirty`.

    Several calls may share a table: a run whose stage another process is doing is put behind the others, and
    waited for when nothing else is left; one that another process has written is left out. Only this process
    writes this call's results, one line at a time. All data that the runs need is looked for first:
    MissingDataset is raised before anything is trained. A run that fails does not stop the others; the errors
    are raised together at the end, as an ExceptionGroup. Raises ValueError for an unknown row, method,
    config field or metric, DirtyTree as `dirty` says.
    """
    results = results or Results(table.paper)
    deadline = None if minutes is None else time.time() + 60 * minutes
    jobs, copies = agreed(plan(table, rows, seeds, profile, changes, results, labels))
    measure.wanted_of_a_set(table.columns.values())
    require_all(table, jobs)
    if jobs and not dirty and agreed(clean()) is False:
        raise DirtyTree(
            "this checkout differs from its commit, which its runs would be stored under: commit first, or "
            "train all the same with --dirty, which is recorded as clean: false."
        )
    outcome, failed = Outcome(copied=len(copies)), []
    _write(results, copies)

    def missing(job: Job) -> bool:
        left, found = agreed(plan(table, rows, seeds, profile, changes, results, labels))
        _write(results, [line for line in found if line["run"] == job.run.identity])
        return any(job.run == other.run for other in left)

    for job, made in _executed(table, jobs, missing, deadline, workers, executor, progress):
        if isinstance(made, list):
            outcome.done.append(job.run)
            _write(results, made)
        elif isinstance(made, OutOfTime | Busy):
            outcome.waiting.append(job.run)
        elif made is None:
            outcome.elsewhere.append(job.run)
        else:
            row, _ = job.cells[0]
            made.add_note(f"in row {row.name!r}, {row.labels}, seed {job.run.seed}, fold {job.run.fold}")
            failed.append(made)
    if failed:
        raise ExceptionGroup(f"{len(failed)} runs of {table.address} failed", failed)
    return outcome


def require_all(table: Table, jobs: Sequence[Job]) -> None:
    """Raise MissingDataset where a data set that any of the jobs needs is not here."""
    for job in jobs:
        for row, _ in job.cells:
            measure.require(row, find(row.method), job.config, job.profile, table.tested)


def do(table: Table, job: Job, deadline: float | None, progress: bool) -> list[Line]:
    """One job, wherever it runs; returns its results lines, one a cell.

    deadline : seconds since the epoch, or None. Raises OutOfTime at the deadline, Busy where another process
               is doing one of its stages.
    """
    minutes = None if deadline is None else max(deadline - time.time(), 0) / 60
    runner = StageRunner(seed=job.run.seed, minutes=minutes, progress=progress, wait=False)
    made = result_of(table, job, runner)
    return _lines(table, job, made, together(runner.used))


def result_of(table: Table, job: Job, runner: StageRunner) -> RunResult:
    """Train what a job wants and measure it on the data sets of its cells."""
    row, _ = job.cells[0]
    method = find(row.method)
    parts = measure.parts_of(row, method, job.config, job.profile, job.run.seed, job.run.fold)
    segmenter, trained = train_on(method, job.config, parts, runner)
    columns = table.columns.values()
    also, costs = measure.wanted_of_a_set(columns), measure.costs(method, job.config, columns)
    patches = {column.patch for column in columns if column.patch}
    measured = {}
    for name in job.measured_on:
        samples = parts.test or measure.tested_on(name, job.profile, table.tested(name))
        found = measure.score(lambda image: segmenter(image).nuclei, samples, also, patches)
        measured[name] = replace(found, metrics={**found.metrics, **costs})
    return RunResult(measured, trained.init, trained.selection, trained.seconds)


def _lines(table: Table, job: Job, made: RunResult, provenance: Provenance) -> list[Line]:
    return [
        place(table, row, dataset, made.measured[dataset].data)
        | _numbers(made.measured[dataset])
        | asdict(provenance)
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
                **asdict(job.config),
                "method": job.run.method,
                "learnt_from": job.run.dataset,
                "split": job.run.split,
                "measured_on": dataset,
                "part": as_list(table.tested(dataset)),
            },
        }
        for row, dataset in job.cells
    ]


def _numbers(measured: Measured) -> Line:
    return {
        "data": measured.data,
        "metrics": measured.metrics,
        "images": len(measured.per_image),
        "per_image": measured.per_image,
    }


def _write(results: Results, written: Sequence[Line]) -> None:
    if first_process():
        for line in written:
            results.append(line)


def _executed(
    table: Table,
    jobs: Sequence[Job],
    missing: Callable[[Job], bool],
    deadline: float | None,
    workers: int,
    executor: Executor | None,
    progress: bool,
) -> Iterator[tuple[Job, list[Line] | Exception | None]]:
    """Each job with its lines or its error, as they come; None for one that is missing no more."""
    threads = max(cores() // workers, 1)
    pool = executor
    with ExitStack() as stack:
        if executor is None and workers > 1:
            own = ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,))
            pool = stack.enter_context(own)
        while jobs:
            busy = []
            for job, made in _once(table, jobs, missing, deadline, pool, progress):
                if isinstance(made, Busy) and not agreed(deadline is not None and time.time() >= deadline):
                    busy.append(job)
                else:
                    yield job, made
            if len(busy) == len(jobs):  # nothing else is left
                time.sleep(POLL)
            jobs = busy


def _once(
    table: Table,
    jobs: Sequence[Job],
    missing: Callable[[Job], bool],
    deadline: float | None,
    pool: Executor | None,
    progress: bool,
) -> Iterator[tuple[Job, list[Line] | Exception | None]]:
    """Each job tried once, here or by a pool."""
    futures = {}
    for job in jobs:
        made: list[Line] | Exception | None = None
        if missing(job):
            if pool is not None:
                futures[pool.submit(do, table, job, deadline, False)] = job
                continue
            try:
                made = do(table, job, deadline, progress)
            except Exception as error:
                made = error
        yield job, made
    for future in as_completed(futures):
        failure = future.exception()
        if failure is not None and not isinstance(failure, Exception):
            raise failure  # the user, or the system, ends it all
        yield futures[future], failure or future.result()
