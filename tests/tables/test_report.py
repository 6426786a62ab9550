"""What would run is told with the time that stored runs took."""

from __future__ import annotations

import pytest

from nucbook.results import Results
from nucbook.tables.report import dry_run
from nucbook.tables.run import run_table


def test_a_dry_run_tells_the_time_of_stored_runs_of_the_same_method(toys):
    table = toys.TABLES["2"]
    assert "SPN, points, kumar, seed 0, fold 0: time unknown" in dry_run(table, ["spn"], 1, "short", {})
    run_table(table, rows=["spn"], progress=False)
    (line,) = Results("weaknucleiseg").lines()
    old = {key: value for key, value in line["config"].items() if key != "learnt_from"}
    Results("toys").append({**line, "seconds": 600.0, "paper": "toys", "config": old})  # from before that key
    assert line["seconds"] == pytest.approx(1.2)
    shown = dry_run(table, ["SPN+IEN"], 1, "short", {})
    assert shown.splitlines()[0] == "SPN+IEN, points, kumar, seed 0, fold 0: about 1 s"
    assert dry_run(table, ["spn"], 1, "short", {}) == "0 runs to do, about 0 s; 0 to copy."
