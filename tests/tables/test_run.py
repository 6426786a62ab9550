from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from nucbook.results import Results
from nucbook.tables.render import compare
from nucbook.tables.run import do, plan, run_table


def test_what_is_missing_is_run_and_nothing_twice(toys):
    table = toys.TABLES["2"]
    outcome = run_table(table, rows=["SPN+IEN"], progress=False)
    assert [run.method for run in outcome.done] == ["toys.toy"]
    assert toys.log() == ["train kumar 0.2"]  # one training, measured on two data sets
    frame = Results("weaknucleiseg").frame()
    assert frame.dataset.tolist() == ["MultiOrgan", "tnbc"]
    assert frame.row.tolist() == ["SPN+IEN"] * 2
    assert frame.dice.tolist() == [pytest.approx(0.2)] * 2
    line = frame.iloc[0]
    assert (line.schedule, line.profile, line.data, line.init) == (
        "short: steps 100 → 10",
        "short",
        "real",
        "scratch",
    )
    assert line.images == 2
    assert line.config["learnt_from"] == "kumar"
    assert line.versions.keys() >= {"nucbook", "torch", "torchvision", "python"}
    again = run_table(table, rows=["SPN+IEN"], progress=False)
    assert again.done == []
    assert len(Results("weaknucleiseg").frame()) == 2


def test_seeds_and_folds_are_runs_of_their_own(toys):
    run_table(toys.TABLES["2"], rows=["spn", "folded"], seeds=2, progress=False)
    frame = Results("weaknucleiseg").frame()
    assert frame.groupby("row").size().to_dict() == {"SPN": 2, "folded": 6}
    assert frame.run.nunique() == 8
    assert sorted(frame[frame.row == "folded"].dice.round(3)) == [0.1, 0.101, 0.102, 0.11, 0.111, 0.112]


def test_the_same_run_in_two_tables_is_run_once(toys):
    run_table(toys.TABLES["2"], rows=["SPN+IEN"], progress=False)
    outcome = run_table(toys.TABLES["other"], progress=False)
    assert (outcome.done, outcome.copied) == ([], 2)
    assert toys.log() == ["train kumar 0.2"]
    copied, original = Results("toys").frame(), Results("weaknucleiseg").frame()
    assert copied.row.tolist() == ["mine", "mine"]
    assert copied.dataset.tolist() == ["kumar", "tnbc"]
    assert copied.run.tolist() == original.run.tolist()
    assert copied.dice.tolist() == original.dice.tolist()


def test_profiles_are_apart(toys):
    run_table(toys.TABLES["2"], rows=["spn"], profile="quick", progress=False)
    assert len(plan(toys.TABLES["2"], ["spn"], 1, "short", None, Results("weaknucleiseg"))[0]) == 1
    assert Results("weaknucleiseg").frame().data.tolist() == ["simulated"]


def test_the_command_line_has_the_last_word(toys):
    run_table(toys.TABLES["2"], rows=["SPN+IEN"], changes={"gain": "0.5"}, progress=False)
    frame = Results("weaknucleiseg").frame()
    assert frame.config[0]["gain"] == 0.5
    assert frame.schedule[0] == "short: steps 100 → 10, gain 0.2 → 0.5"
    with pytest.raises(ValueError, match="Config has no field 'gian'; its fields are steps, gain"):
        run_table(toys.TABLES["2"], changes={"gian": 1}, progress=False)


def test_a_row_changed_on_the_command_line_is_another_row(toys):
    """What was measured stays measured, and both stand in the table."""
    table = toys.TABLES["2"]
    run_table(table, rows=["SPN+IEN"], progress=False)
    run_table(table, rows=["SPN+IEN"], changes={"gain": "0.01"}, progress=False)
    run_table(table, rows=["SPN+IEN"], changes={"gain": "0.2"}, progress=False)  # as it is
    frame = Results("weaknucleiseg").frame()
    assert frame.row.tolist() == ["SPN+IEN"] * 2 + ["SPN+IEN, gain=0.01"] * 2
    first = compare(table)[next(iter(table.columns)), "measured"]
    measured = first.xs("MultiOrgan", level="dataset").dropna()
    assert measured.index.get_level_values("row").tolist() == ["SPN+IEN", "SPN+IEN, gain=0.01"]
    assert not plan(table, ["SPN+IEN"], 1, "short", None, Results("weaknucleiseg"))[0]


def test_out_of_time_leaves_the_rest_for_later(toys):
    outcome = run_table(toys.TABLES["2"], rows=["spn", "SPN+IEN"], minutes=0, progress=False)
    assert (len(outcome.done), len(outcome.waiting)) == (0, 2)
    assert Results("weaknucleiseg").lines() == []
    assert len(run_table(toys.TABLES["2"], rows=["spn", "SPN+IEN"], minutes=5, progress=False).done) == 2


@pytest.mark.parametrize("threads", [None, 2])
def test_a_run_that_fails_does_not_stop_the_others(toys, threads):
    executor = threads and ThreadPoolExecutor(threads)
    with pytest.raises(ExceptionGroup, match="2 runs of toys/broken failed") as caught:
        run_table(toys.TABLES["broken"], executor=executor, progress=False)
    broke, left_out = sorted(caught.value.exceptions, key=str, reverse=True)
    assert str(broke) == "the toy broke"
    assert broke.__notes__ == ["in row 'SPN', points, seed 0, fold 0"]
    assert str(left_out) == "the recipe of 'toys.toy' did not measure nowhere."


def test_an_executor_runs_the_jobs_and_this_process_writes(toys):
    with ThreadPoolExecutor(2) as pool:
        outcome = run_table(toys.TABLES["2"], seeds=2, executor=pool, progress=False)
    assert len(outcome.done) == 10
    assert len(Results("weaknucleiseg").frame()) == 12


def test_a_job_can_travel_to_another_process(toys):
    table = toys.TABLES["2"]
    job = plan(table, ["SPN+IEN"], 1, "short", None, Results("weaknucleiseg"))[0][0]
    lines = do(*pickle.loads(pickle.dumps((table, job, None, False))))
    assert [line["dataset"] for line in lines] == ["MultiOrgan", "tnbc"]
