"""Every row of every table runs on tiny files in the official layout; every field of a config counts."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import nucbook.papers
from nucbook.cli.config import described
from nucbook.data.tissue import simulate
from nucbook.method import config_of
from nucbook.method import find as find_method
from nucbook.profile import change, flat
from nucbook.results import Results
from nucbook.segmenter import train
from nucbook.tables import find, papers, tables_of
from nucbook.tables.run import run_table
from tests.data.layouts import write

HOVERNET = {"steps": 2, "batch": 2, "crop": 32, "patch": 32}
MASKRCNN = {"steps": 2, "batch": 2, "crop": 48, "levels": 3, "width": 16, "box_width": 16}
WINDOWS = {"size": 32, "stride": 16, "clusters": 2, "network": "colour", "starts": 1, "count": 1}
GANS = {"scales": [16, 32], "iterations": [1, 1], "gan.width": 4, "translation.width": 4, "blocks": 1}
SMALL = {
    "classical": {},
    "tissue": {"steps": 2, "batch": 2, "crop": 32, "levels": 3, "tiles": 2, "tile": 64},
    "unet": {"steps": 2, "batch": 2, "crop": 32, "levels": 3},
    "hovernet": HOVERNET,
    "maskrcnn": MASKRCNN,
    "bass": MASKRCNN | {"student_steps": 2},
    "whichpixel": WINDOWS
    | GANS
    | {"translation.crop": 32, "translation.steps": 1}
    | {f"hovernet.{name}": value for name, value in HOVERNET.items()}
    | {f"maskrcnn.{name}": value for name, value in MASKRCNN.items()},
    "self_training": HOVERNET,
    "mean_teacher": HOVERNET,
    "ircr": HOVERNET | {"external": ["tissue"]},  # nuclei of tiny files are all alike
    "weaknucleiseg": {"spn_steps": 2, "ien_steps": 2, "batch": 2, "crop": 32, "levels": 3},
}
ROWS = {  # of rows that differ in the label fraction alone, the last
    f"{paper}/{name} {row.dataset} {row.name}": (f"{paper}/{name}", row)
    for paper in papers()
    for name, table in tables_of(paper).items()
    for row in table.rows
}


@pytest.mark.slow
@pytest.mark.parametrize(("address", "row"), ROWS.values(), ids=ROWS)
@pytest.mark.filterwarnings("ignore:.*smaller than the", "ignore:.*tissue", "ignore:.*nucleus .* cut")
def test_a_row_runs(address, row, tmp_path, monkeypatch):
    for name in {row.dataset, *row.measured_on}:
        write(name, tmp_path / "data", size=64)
    if row.dataset == "monusac":
        second_image(tmp_path / "data" / "MoNuSAC" / "MoNuSAC_images_and_annotations")
    monkeypatch.setenv("NUCBOOK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path / "cache"))
    whole = find(address)
    columns = {name: column for name, column in whole.columns.items() if not column.against}  # another row
    table = replace(whole, rows=(replace(row, folds=1),), columns=columns)
    results = Results(tmp_path / "results.jsonl")
    done = run_table(table, profile="short", changes=SMALL[row.method], results=results, progress=False).done
    assert len(done) == 1
    lines = results.lines()
    assert [line["dataset"] for line in lines] == [table.spell(name) for name in row.measured_on]
    for line in lines:
        assert line["data"] == "real"
        assert line["images"] > 0
        assert {column.stored for column in table.columns.values()} <= set(line["metrics"])


def second_image(home):
    """The one image of a tiny MoNuSAC once more, of another patient: a tenth of one cannot be held out."""
    (first,) = home.iterdir()
    other = first.name.replace("A9K0", "A9K1")
    for file in first.iterdir():
        (home / other).mkdir(exist_ok=True)
        shutil.copy(file, home / other / file.name.replace(first.name, other))


def configurations():
    return [(module.partition(".")[0], config_of(name)) for name, module in nucbook.papers.METHODS.items()]


def code_of(paper):
    """A paper's code, and that of the baselines, on which its configuration may build."""
    folders = (Path(nucbook.papers.__path__[0]) / name for name in {paper, "baselines"})
    return "\n".join(file.read_text(encoding="utf-8") for folder in folders for file in folder.glob("*.py"))


@pytest.mark.parametrize(("paper", "kind"), configurations())
def test_every_field_is_read_by_something(paper, kind):
    code = code_of(paper)
    unread = [
        f.name
        for f in fields(kind)
        if not re.search(rf"(config|unet|hovernet|maskrcnn|trunk)\.{f.name}\b", code)
    ]
    assert not unread


@pytest.mark.parametrize(("paper", "kind"), configurations())
def test_every_field_says_its_unit_or_source(paper, kind):
    notes = described(kind.quick())
    assert [name for name in flat(kind.quick()) if not notes.get(name)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in nucbook.papers.METHODS if name != "classical"])
def test_the_papers_sizes_take_one_step(name, tmp_path):
    """At the paper's crop and network, one crop a step; weights from scratch, since others may not be had."""
    method = find_method(name)
    steps = {
        "weaknucleiseg": {"spn_steps": 1, "ien_steps": 1},
        "tissue": {"steps": 1, "tiles": 1},
        "bass": {"steps": 1, "student_steps": 1},
    }
    own = {"external": ["tissue"]} if name == "ircr" else {}
    small = {"batch": 1, "init": "scratch", **steps.get(name, {"steps": 1}), **own}
    if name == "whichpixel":  # which holds the configurations of several trainings
        parts = [f"{part}.{field}" for part in ("hovernet", "maskrcnn") for field in ("batch", "steps")]
        small = dict.fromkeys([*parts, "translation.steps", "count", "critic_steps", "clusters"], 1)
        small |= {"labels": "given", "rounds": 0, "iterations": [1] * 5, "network": "colour"}
        small |= {"hovernet.init": "scratch", "maskrcnn.init": "scratch"}
    config = change(method.config.paper("monuseg"), small)
    known = simulate("breast", 96, seed=5)  # crops go on beyond it, as its mirror images
    unknown = simulate("kidney", 96, seed=6).weaken("nothing")
    _, histories = train(method, [known, unknown], config, checkpoint=tmp_path, progress=False)
    assert all(np.isfinite(history.rows[-1]["loss"]) for history in histories.values())
