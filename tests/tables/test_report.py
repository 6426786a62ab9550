"""What would run is told with the time that stored runs took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nucbook.results import Results
from nucbook.tables.plan import plan
from nucbook.tables.report import dry_run, listed, printed
from nucbook.tables.run import run_table


def test_a_dry_run_tells_the_time_of_stored_runs_of_the_same_method(toys):
    table = toys.TABLES["2"]
    shown = dry_run(table, ["spn"], 1, "short", {})
    assert "SPN, points, kumar, seed 0, fold 0: time unknown" in shown
    assert shown.endswith("1 runs to do, time unknown; 0 to copy.")
    run_table(table, rows=["spn"], progress=False)
    (line,) = Results("weaknucleiseg").lines()
    old = {key: value for key, value in line["config"].items() if key != "learnt_from"}
    Results("toys").append({**line, "seconds": 600.0, "paper": "toys", "config": old})  # from before that key
    assert line["seconds"] == pytest.approx(1.2)
    shown = dry_run(table, ["SPN+IEN"], 1, "short", {})
    assert shown.splitlines()[0] == "SPN+IEN, points, kumar, seed 0, fold 0: about 1 s"
    assert dry_run(table, ["spn"], 1, "short", {}) == "0 runs to do, about 0 s; 0 to copy."


def test_runs_of_what_a_row_was_are_counted_apart(toys):
    table = toys.TABLES["2"]
    run_table(table, rows=["spn"], seeds=2, progress=False)
    changed = replace(table, rows=(replace(table.rows[0], changes={"gain": 0.3}), *table.rows[1:]))
    count = lambda table: listed(table, "short", rows=["spn"]).splitlines()[-1].split()[-2:]
    assert (count(table), count(changed)) == (["2", "0"], ["0", "2"])
    assert "2 stored results are older than their rows" in dry_run(changed, ["spn"], 2, "short", {})
    run_table(changed, rows=["spn"], progress=False)
    assert count(changed) == ["1", "1"]  # seed 1 is still that of the row before


def test_some_rows_are_shown_alone(toys):
    table = toys.TABLES["2"]
    run_table(table, rows=["spn", "SPN+IEN"], progress=False)
    assert "SPN+IEN" in printed(table, "short")
    assert "SPN+IEN" not in printed(table, "short", rows=["spn"])


def test_simulated_tissue_is_measured_once_however_many_sets_a_row_names(toys):
    """It stands for each of them at quick."""
    row = replace(toys.TABLES["2"].rows[0], measured_on=("kumar", "tnbc"))
    table = replace(toys.TABLES["2"], rows=(row,))
    [job], _ = plan(table, profile="quick")
    assert job.measured_on == ("kumar",)
    [job], _ = plan(table, profile="short")
    assert job.measured_on == ("kumar", "tnbc")
