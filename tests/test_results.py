from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nucbook
from nucbook.method import names
from nucbook.results import KEYS, BadResults, Results, folder, shipped


def line(**changes):
    return {
        "run": "a1",
        "paper": "ircr",
        "table": "2",
        "row": "IRCR-Net",
        "dataset": "CoNSeP",
        "data": "real",
        "labels": "1/8",
        "fold": 0,
        "seed": 0,
        "profile": "short",
        "schedule": "short: steps 9 → 3",
        "init": "scratch",
        "selection": "last",
        "metrics": {"dice": 0.5, "aji": 0.25},
        "images": 2,
        "per_image": [{"name": "a", "dice": 0.5}],
        "seconds": 12.0,
        "device": "cpu, 2 cores",
        "versions": {"nucbook": "0.1"},
        "commit": "0123456789ab",
        "clean": True,
        "time": "2026-01-02T03:04:05+00:00",
        "config": {"steps": 3},
        **changes,
    }


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "results" / "ircr.jsonl")


def test_lines_come_back_in_their_order(results):
    assert results.lines() == []
    assert results.frame().empty
    for seed in range(3):
        results.append(line(seed=seed, run=f"r{seed}"))
    assert [found["seed"] for found in results.lines()] == [0, 1, 2]
    assert results.lines()[1] == line(seed=1, run="r1")
    assert list(json.loads(results.path.read_text().splitlines()[0])) == list(KEYS)


def test_a_cell_measured_again_with_another_configuration_counts_once(results):
    results.append(line())
    results.append(line(seed=1, run="a2"))
    results.append(line(run="b1", config={"steps": 9}, metrics={"dice": 0.6}))
    assert results.frame().sort_values("seed").run.tolist() == ["b1", "a2"]


def test_the_frame_has_a_column_a_metric(results):
    results.append(line())
    results.append(line(run="a2", seed=1, metrics={"dice": 0.7, "pq": 0.1}))
    frame = results.frame()
    assert frame.dice.tolist() == [0.5, 0.7]
    assert math.isnan(frame.aji[1])
    assert "metrics" not in frame
    assert frame.seed.tolist() == [0, 1]


def test_the_later_of_two_measurements_stands(results):
    results.append(line())
    results.append(line(metrics={"dice": 0.9}))
    results.append(line(profile="quick"))
    assert results.frame().dice.tolist() == [0.9, 0.5]


def test_the_line_of_the_later_training_stands_wherever_it_is_in_the_file(results):
    times = ("2026-03-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00", "2026-03-01T00:00:00+00:00")
    for dice, time in zip((0.1, 0.2, 0.3), times):
        results.append(line(metrics={"dice": dice}, time=time))
    assert results.frame().dice.tolist() == [0.3]
    results.append(line(metrics={"dice": 0.4}, time="2026-02-01T00:00:00+00:00"))
    assert results.frame().dice.tolist() == [0.3]
    results.append(line(metrics={"dice": 0.5}, time="2026-04-01T00:00:00+00:00"))
    assert results.frame().dice.tolist() == [0.5]


def test_lines_from_before_provenance_was_recorded_come_first(results):
    results.append(line(metrics={"dice": 0.1}))
    old = {k: v for k, v in line(metrics={"dice": 0.2}).items() if k not in ("commit", "clean", "time")}
    with open(results.path, "a") as file:
        file.write(json.dumps(old) + "\n" + json.dumps({**old, "seed": 1}) + "\n")
        file.write(json.dumps({**old, "seed": 1, "metrics": {"dice": 0.3}}) + "\n")
    frame = results.frame().set_index("seed")
    assert frame.dice.to_dict() == {0: 0.1, 1: 0.3}
    assert frame.commit[0] == "0123456789ab"
    assert frame.loc[1, ["commit", "clean", "time"]].isna().all()
    results.append(results.lines()[1])  # as a copy for another table
    assert len(results.lines()) == 5


def test_pruning_drops_what_was_measured_again_and_nothing_else(results):
    assert results.prune("2") == 0
    results.append(line(run="old"))
    results.append(line(run="old", seed=1))
    results.append(line(run="old", table="3"))
    results.append(line(run="new", time="2026-04-01T00:00:00+00:00"))
    results.append(line(run="new", table="3", time="2026-04-01T00:00:00+00:00"))
    read = lambda: sorted(map(str, results.frame().to_dict("records")))
    before = read()
    assert results.prune("2") == 1
    assert read() == before
    assert [(own["run"], own["seed"], own["table"]) for own in results.lines()] == [
        ("old", 1, "2"),
        ("old", 0, "3"),
        ("new", 0, "2"),
        ("new", 0, "3"),
    ]
    assert results.prune("2") == 0


def test_numbers_of_numpy_and_nan_are_kept(results):
    results.append(line(metrics={"dice": np.float32(0.5), "aji": float("nan")}, images=np.int64(3)))
    assert "NaN" not in results.path.read_text()
    found = results.lines()[0]
    assert found["metrics"]["dice"] == 0.5
    assert math.isnan(found["metrics"]["aji"])
    assert found["images"] == 3


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, 300), ended=st.booleans(), read_first=st.booleans())
def test_a_torn_last_line_is_kept_aside_and_the_rest_used(tmp_path_factory, cut, ended, read_first):
    results = Results(tmp_path_factory.mktemp("r") / "ircr.jsonl")
    for seed in range(3):
        results.append(line(seed=seed, run=f"r{seed}"))
    whole = results.path.read_bytes().splitlines(keepends=True)
    torn = whole[2][: min(cut, len(whole[2]) - 3)]
    results.path.write_bytes(whole[0] + whole[1] + torn + b"\n" * ended)
    use = results.lines if read_first else lambda: results.append(line(run="new"))
    with pytest.warns(UserWarning, match=r"ircr\.jsonl: its last line is torn .* and the 2 lines before it"):
        use()
    if read_first:
        results.append(line(run="new"))
    assert [found["run"] for found in results.lines()] == ["r0", "r1", "new"]
    (aside,) = results.path.parent.glob("ircr.jsonl.torn-*")
    assert aside.read_bytes() == torn


def test_a_last_line_that_lacks_only_its_end_is_whole(results):
    results.append(line())
    results.path.write_bytes(results.path.read_bytes().rstrip())
    results.append(line(run="b"))
    assert [found["run"] for found in results.lines()] == ["a1", "b"]


def test_a_bad_line_inside_is_named(results):
    results.append(line())
    good = results.path.read_text()
    results.path.write_text(good + "<<<<<<< ours\n" + good)
    with pytest.raises(BadResults, match=r"ircr\.jsonl, line 2: not a results line .*mend it or take it out"):
        results.frame()
    results.path.write_text(good + '{"run": "a"}\n' + good)
    with pytest.raises(BadResults, match="line 2: lacks paper, table"):
        results.lines()


def test_only_whole_lines_are_written(results):
    with pytest.raises(ValueError, match=r"a results line has run, paper.*wrong or missing: row, rows"):
        results.append({**{k: v for k, v in line().items() if k != "row"}, "rows": 1})
    assert results.lines() == []


MANY = """
import json, sys
from nucbook.results import Results
line = json.loads(sys.argv[3])
for i in range(20):
    Results(sys.argv[1]).append({**line, "run": f"{sys.argv[2]}-{i}"})
"""


def test_two_writers_do_not_tear_each_others_lines(results):
    run = [sys.executable, "-c", MANY, results.path]
    both = [subprocess.Popen([*run, name, json.dumps(line())]) for name in ("a", "b")]
    assert [process.wait(timeout=120) for process in both] == [0, 0]
    assert {found["run"] for found in results.lines()} == {f"{name}-{i}" for name in "ab" for i in range(20)}


def test_a_paper_has_its_file(monkeypatch, tmp_path):
    monkeypatch.setenv("NUCBOOK_RESULTS", str(tmp_path))
    assert Results("ircr").path == tmp_path / "ircr.jsonl"
    monkeypatch.delenv("NUCBOOK_RESULTS")
    assert folder() == Path(nucbook.__file__).parent.parent / "results"
    assert shipped() is None


def test_an_installed_package_has_the_book_s_lines_and_writes_beside_them(monkeypatch, tmp_path):
    """Installed: no checkout, the package's folder is not written to, and both are read."""
    monkeypatch.delenv("NUCBOOK_RESULTS", raising=False)
    packed = Results(tmp_path / "site" / "nucbook" / "_results" / "ircr.jsonl")
    packed.append(line(metrics={"dice": 0.1}))
    packed.append(line(seed=1))
    monkeypatch.setattr("nucbook.results.__file__", str(tmp_path / "site" / "nucbook" / "results.py"))
    monkeypatch.setattr("nucbook.results.checkout", lambda: None)
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / "data" / name)
    before = packed.path.read_bytes()
    results = Results("ircr")
    assert [found["seed"] for found in results.lines()] == [0, 1]
    results.append(line(metrics={"dice": 0.2}))
    Results("bass").append(line(paper="bass"))
    assert results.path == tmp_path / "data" / "nucbook" / "results" / "ircr.jsonl"
    assert packed.path.read_bytes() == before
    assert results.frame().set_index("seed").dice.to_dict() == {0: 0.2, 1: 0.5}
    assert [len(each.lines()) for each in results.everywhere()] == [1, 3]


def test_the_stored_runs_of_the_book_are_filed_as_what_they_are():
    for path in folder().glob("*.jsonl"):
        for stored in Results(path).lines():
            assert (stored["dataset"] == "simulated") == (stored["data"] == "simulated")
            assert stored["config"]["method"] in names()
