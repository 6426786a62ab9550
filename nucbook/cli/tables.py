"""`nucbook table`: what a table holds, what it lacks, and running that."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nucbook.cli.options import Changes, Minutes, Profile, explained, pairs


def table(
    address: Annotated[
        str | None, typer.Argument(help="paper/table, as baselines/slides. Without it all are listed.")
    ] = None,
    rows: Annotated[
        list[str] | None, typer.Option(help="A row's name or alias; repeatable. Default: all.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Only rows of these labels, as 1/32.")] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each row.")] = 1,
    seed: Annotated[int | None, typer.Option(help="This seed alone.")] = None,
    profile: Profile = None,
    minutes: Minutes = None,
    changes: Changes = None,
    workers: Annotated[int, typer.Option(help="Runs at a time on this machine.")] = 1,
    listed: Annotated[
        bool, typer.Option("--list", help="Name the rows and count what is stored; run nothing.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print what is stored; run nothing.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would run, and how long; run nothing.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Train again without the cache, and hold it against what is stored."),
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Drop runs that were measured again later; run nothing.")
    ] = False,
    dirty: Annotated[
        bool,
        typer.Option(
            "--dirty", help="Train although files differ from the commit; recorded as clean: false."
        ),
    ] = False,
) -> None:
    """Run what is missing of a table, and print what there is beside what was published."""
    with explained():
        from nucbook.profile import profile as profile_in_force
        from nucbook.tables import find, report

        if address is None:
            typer.echo(report.tables_listed())
            return
        wanted, profile = find(address), profile_in_force(profile)
        chosen = seeds if seed is None else [seed]
        if listed:
            typer.echo(report.listed(wanted, profile, rows=rows, labels=labels))
        elif show:
            typer.echo(report.printed(wanted, profile, rows=rows, labels=labels))
        elif prune:
            from nucbook.results import Results

            file = Results(wanted.paper)
            typer.echo(f"{file.path}: {file.prune(wanted.name)} lines dropped.")
        elif dry_run:
            typer.echo(report.dry_run(wanted, rows, chosen, profile, pairs(changes), labels))
        elif verify:
            from nucbook.tables.verify import verify as verify_table

            for line in verify_table(wanted, rows, chosen, profile, labels):
                typer.echo(line)
        else:
            from nucbook.data.item import MissingDataset
            from nucbook.tables.run import DirtyTree, run_table

            try:
                outcome = run_table(
                    wanted,
                    rows=rows,
                    seeds=chosen,
                    profile=profile,
                    minutes=minutes,
                    changes=pairs(changes),
                    labels=labels,
                    workers=workers,
                    progress=sys.stderr.isatty(),
                    dirty=dirty,
                )
            except (MissingDataset, DirtyTree):  # nothing was run; what is stored can be shown all the same
                typer.echo(report.printed(wanted, profile, rows=rows, labels=labels))
                raise
            elsewhere = f", {len(outcome.elsewhere)} by another process" if outcome.elsewhere else ""
            waiting = f"{len(outcome.waiting)} wait for the next call"
            typer.echo(f"{len(outcome.done)} runs done{elsewhere}, {waiting}.")
            typer.echo(report.printed(wanted, profile, rows=rows, labels=labels))
