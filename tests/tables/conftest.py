"""A paper of toys: runs that cost nothing and count how often they are run."""

from __future__ import annotations

import importlib
import sys

import pytest

import nucbook.papers

TABLES = """
import os
from dataclasses import dataclass, replace
from nucbook.rows import Measured, Recipe, Row, RunResult, Table
from nucbook.training.stages import OutOfTime, stage

@dataclass(frozen=True)
class Config:
    steps: int = 100
    gain: float = 0.1
    fails: bool = False
    init: str = "scratch"

    @classmethod
    def paper(cls, dataset):
        return cls()

    @classmethod
    def short(cls, dataset):
        return replace(cls.paper(dataset), steps=10)

    @classmethod
    def quick(cls):
        return cls(steps=1)

@stage("steps", "gain")
def training(desk, config, dataset):
    with open(os.environ["TOYS_LOG"], "a") as log:
        log.write(f"train {dataset} {config.gain}\\n")
    return {"skill": config.gain * config.steps, "seed": desk.seed}

def run(row, context):
    if context.config.fails:
        raise RuntimeError("the toy broke")
    made = context.desk.do(training, context.config, row.dataset)
    data = "simulated" if context.profile == "quick" else "real"
    value = made["skill"] / 10 + made["seed"] / 100 + context.run.fold / 1000
    measured = {name: Measured({"dice": value, "aji": value / 2}, [{"name": "a", "dice": value}] * 2, data)
                for name in context.measured_on}
    if "nowhere" in measured:
        del measured["nowhere"]
    return RunResult(measured, init=context.config.init, seconds=1.23)

METHODS = {"toy": Recipe(Config, run)}
ROWS = (
    Row("SPN", "toys.toy", "kumar", "points", alias="spn"),
    Row("SPN+IEN", "toys.toy", "kumar", "points", measured_on=("kumar", "tnbc"), changes={"gain": 0.2}),
    Row("folded", "toys.toy", "tnbc", "points", folds=3),
)
TABLES = {
    "2": Table("weaknucleiseg", "2", "Toys.", ROWS, {"Dice_obj": "dice", "AJI": "aji"},
               {"kumar": "MultiOrgan"}),
    "other": Table("toys", "other", "Again.", (replace(ROWS[1], name="mine"),), {"Dice": "dice"}, unit=100),
    "broken": Table("toys", "broken", "Toys.", (
        replace(ROWS[0], changes={"fails": True}), replace(ROWS[0], name="whole"),
        replace(ROWS[0], name="part", measured_on=("kumar", "nowhere")),
    ), {"Dice": "dice"}),
}
"""


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The module `nucbook.papers.toys.tables`, results and cache of its own; `toys.log()` is what ran."""
    package = tmp_path / "papers" / "toys"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "tables.py").write_text(TABLES)
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setattr(nucbook.papers, "__path__", [*nucbook.papers.__path__, str(tmp_path / "papers")])
    for name, value in {"NUCBOOK_CACHE": "cache", "NUCBOOK_RESULTS": "results", "TOYS_LOG": "log"}.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("NUCBOOK_PROFILE", "short")
    importlib.invalidate_caches()
    module = importlib.import_module("nucbook.papers.toys.tables")
    module.log = lambda: log.read_text().splitlines()
    yield module
    for name in ("nucbook.papers.toys.tables", "nucbook.papers.toys"):
        del sys.modules[name]
