from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from filelock import FileLock

from nucbook.cache import LOCK, stages_folder
from nucbook.data import MissingDataset
from nucbook.provenance import Provenance
from nucbook.results import Results
from nucbook.tables.plan import plan
from nucbook.tables.render import compare
from nucbook.tables.run import DirtyTree, do, run_table


def test_what_is_missing_is_run_and_nothing_twice(toys):
    table = toys.TABLES["2"]
    outcome = run_table(table, rows=["SPN+IEN"], progress=False)
    assert [run.method for run in outcome.done] == ["toy"]
    assert toys.log() == ["train kumar 0.2"]  # one training, measured on two data sets
    frame = Results("weaknucleiseg").frame()
    assert frame.dataset.tolist() == ["MultiOrgan", "tnbc"]
    assert frame.row.tolist() == ["SPN+IEN"] * 2
    assert (frame.dice > 0).all()
    line = frame.iloc[0]
    assert (line.schedule, line.profile, line.data, line.init) == (
        "short: steps 100 → 10",
        "short",
        "real",
        "scratch",
    )
    assert line.images == len(line.per_image) == 14
    assert {"name", "organ", "dice", "aji"} <= set(line.per_image[0])
    assert line.config["learnt_from"] == "kumar"
    assert line.config["part"] == ["test"]
    assert line.versions.keys() == {"nucbook", "torch", "torchvision", "python"}
    again = run_table(table, rows=["SPN+IEN"], progress=False)
    assert again.done == []
    assert len(Results("weaknucleiseg").frame()) == 2


def test_a_line_has_the_commit_that_trained_not_the_one_that_wrote_it(toys, monkeypatch):
    def at(commit, clean, year):
        return lambda: Provenance(commit, clean, f"{year}-01-01T00:00:00+00:00")

    monkeypatch.setattr("nucbook.training.stages.now", at("aaaa", False, 2026))
    run_table(toys.TABLES["2"], rows=["SPN+IEN"], progress=False)
    monkeypatch.setattr("nucbook.training.stages.now", at("bbbb", True, 2027))
    other = Results("again")
    run_table(toys.TABLES["2"], rows=["spn"], results=other, progress=False)
    shutil.rmtree(Results("weaknucleiseg").path.parent)
    run_table(toys.TABLES["2"], rows=["SPN+IEN", "spn"], progress=False)  # measured again, not trained
    assert len(toys.log()) == 2
    frame = Results("weaknucleiseg").frame()
    lines = {row: own.iloc[0] for row, own in frame.groupby("row")}
    for row, commit, clean, year in (("SPN+IEN", "aaaa", False, 2026), ("SPN", "bbbb", True, 2027)):
        assert (lines[row].commit, lines[row].clean) == (commit, clean)
        assert lines[row].time == f"{year}-01-01T00:00:00+00:00"


def test_a_checkout_that_differs_from_its_commit_trains_only_when_told_to(toys, monkeypatch):
    table, file = toys.TABLES["2"], Results("weaknucleiseg")
    monkeypatch.setattr("nucbook.tables.run.clean", lambda: False)
    with pytest.raises(DirtyTree, match=r"commit first, or train all the same with --dirty.* clean: false"):
        run_table(table, rows=["spn"], progress=False, dirty=False)
    assert toys.log() == file.lines() == []
    run_table(table, rows=["spn"], progress=False)
    assert len(file.lines()) == 1
    assert run_table(table, rows=["spn"], progress=False, dirty=False).done == []  # nothing to train
    for clean in (True, None):  # None: installed, no checkout
        monkeypatch.setattr("nucbook.tables.run.clean", lambda clean=clean: clean)
        run_table(table, rows=["spn"], seeds=[5 + bool(clean)], progress=False, dirty=False)
    assert len(file.lines()) == 3


def stage_folder(toys, table, row):
    """The lock and folder of the stage that a row trains in, after it was run once elsewhere."""
    before = set(stages_folder().glob("*")) if stages_folder().exists() else set()
    run_table(table, rows=[row], results=Results("aside"), progress=False)
    (folder,) = set(stages_folder().glob("*")) - before
    shutil.rmtree(Results("aside").path.parent)
    return folder


def test_a_busy_run_is_put_behind_the_others_and_waited_for(toys):
    """Another process holds the first row's stage until the second row's line is written."""
    table = toys.TABLES["2"]
    folder = stage_folder(toys, table, "spn")
    lock = FileLock(folder / LOCK, thread_local=False)
    lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        made = pool.submit(run_table, table, rows=["spn", "SPN+IEN"], progress=False)
        while len(Results("weaknucleiseg").lines()) < 2:
            assert not made.done()
        assert not made.done()
        lock.release()
        outcome = made.result(timeout=60)
    assert [run.seed for run in outcome.done] == [0, 0]
    assert [line["row"] for line in Results("weaknucleiseg").lines()] == ["SPN+IEN"] * 2 + ["SPN"]


def test_a_busy_run_that_another_process_wrote_is_left_out(toys, monkeypatch):
    table = toys.TABLES["2"]
    folder = stage_folder(toys, table, "spn")
    run_table(table, rows=["spn"], progress=False)
    (written,) = Results("weaknucleiseg").lines()
    shutil.rmtree(Results("weaknucleiseg").path.parent)
    lock = FileLock(folder / LOCK, thread_local=False)
    lock.acquire()
    monkeypatch.setattr("time.sleep", lambda seconds: Results("weaknucleiseg").append(written))
    outcome = run_table(table, rows=["spn"], progress=False)
    lock.release()
    assert (len(outcome.done), len(outcome.elsewhere)) == (0, 1)
    assert len(Results("weaknucleiseg").lines()) == 1


def test_a_busy_run_waits_for_the_next_call_where_the_time_is_up(toys):
    table = toys.TABLES["2"]
    folder = stage_folder(toys, table, "spn")
    with FileLock(folder / LOCK, thread_local=False):
        outcome = run_table(table, rows=["spn"], minutes=0.02, progress=False)
    assert (len(outcome.done), len(outcome.waiting)) == (0, 1)


def test_seeds_and_folds_are_runs_of_their_own(toys):
    run_table(toys.TABLES["2"], rows=["spn", "folded"], seeds=2, progress=False)
    frame = Results("weaknucleiseg").frame()
    assert frame.groupby("row").size().to_dict() == {"SPN": 2, "folded": 6}
    assert frame.run.nunique() == 8
    folds = frame[(frame.row == "folded") & (frame.seed == 0)]
    tested = [image["name"] for images in folds.per_image for image in images]
    assert len(tested) == len(set(tested)) == 30  # each image once


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
    frame = Results("weaknucleiseg").frame()
    assert frame.data.tolist() == frame.dataset.tolist() == ["simulated"]


def test_the_command_line_has_the_last_word(toys):
    run_table(toys.TABLES["2"], rows=["SPN+IEN"], changes={"gain": "0.5"}, progress=False)
    frame = Results("weaknucleiseg").frame()
    assert frame.config[0]["gain"] == 0.5
    assert frame.schedule[0] == "short: steps 100 → 10, gain 0.2 → 0.5"
    with pytest.raises(
        ValueError, match=r"Config has no field 'gian'; did you mean 'gain'\? Its fields are steps, gain"
    ):
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
    with pytest.raises(ExceptionGroup, match="1 runs of toys/broken failed") as caught:
        run_table(toys.TABLES["broken"], executor=executor, progress=False)
    (broke,) = caught.value.exceptions
    assert str(broke) == "the toy broke"
    assert broke.__notes__ == ["in row 'SPN', points, seed 0, fold 0"]
    assert Results("toys").frame().row.tolist() == ["whole"]


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


def test_data_that_is_not_there_is_missed_before_anything_is_trained(toys, monkeypatch, tmp_path):
    shutil.rmtree(tmp_path / "data" / "TNBC")
    with pytest.raises(MissingDataset, match="TNBC, part 'test', is not in"):
        run_table(toys.TABLES["2"], progress=False)
    assert toys.log() == []


def test_another_part_of_the_test_set_is_another_measurement(toys):
    run_table(toys.TABLES["2"], rows=["SPN+IEN"], progress=False)
    table = replace(toys.TABLES["2"], name="all patients", test={"tnbc": ("validation", "test")})
    outcome = run_table(table, rows=["SPN+IEN"], results=Results("weaknucleiseg"), progress=False)
    assert (len(outcome.done), outcome.copied) == (1, 1)  # Kumar's numbers are the same, TNBC's are not
    frame = Results("weaknucleiseg").frame()
    images = frame[frame.dataset == "tnbc"].set_index("table").images
    assert images["all patients"] > images["2"]
    assert toys.log() == ["train kumar 0.2"]  # and nothing is trained again
