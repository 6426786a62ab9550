"""A paper of toys: runs that cost nothing and count how often they are run, on tiny files."""

from __future__ import annotations

import importlib
import sys

import pytest

import nucbook.papers
from tests.data.layouts import write

TABLES = """
import os
from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from nucbook import Method, Trained, method
from nucbook.profile import configuration
from nucbook.rows import Row, Table
from nucbook.training import History
from nucbook.training.stages import stage

@configuration
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
def training(runner, config, dataset):
    with open(os.environ["TOYS_LOG"], "a") as log:
        log.write(f"train {dataset} {config.gain}\\n")
    return {"level": torch.tensor([0.4 + config.gain / 5 + runner.seed / 200])}

class Threshold(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("level", torch.zeros(1))

    def forward(self, image):
        return (image.mean(1, keepdim=True) < self.level).float()

def train(runner, config, parts):
    if config.fails:
        raise RuntimeError("the toy broke")
    weights = runner.do(training, config, parts.labelled[0].meta["dataset"])
    return Trained({"toy": weights}, {"toy": History(seconds=1.23)}, config.init)

METHOD = Method(
    "toy", Config, lambda config: {"toy": Threshold()}, lambda nets, images, config: nets["toy"](images),
    lambda maps, config: ndimage.label(maps[0])[0], train, learns_from=lambda config: "points",
)
ROWS = (
    Row("SPN", "toy", "kumar", "points", alias="spn"),
    Row("SPN+IEN", "toy", "kumar", "points", measured_on=("kumar", "tnbc"), changes={"gain": 0.2}),
    Row("folded", "toy", "kumar", "points", split={"by": "image", "validation": 0, "folds": 3}, folds=3),
)
TABLES = {
    "2": Table("weaknucleiseg", "2", "Toys.", ROWS, {"Dice_obj": "dice", "AJI": "aji"},
               {"kumar": "MultiOrgan"}),
    "other": Table("toys", "other", "Again.", (replace(ROWS[1], name="mine"),), {"Dice": "dice"}, unit=100),
    "broken": Table("toys", "broken", "Toys.", (
        replace(ROWS[0], changes={"fails": True}), replace(ROWS[0], name="whole"),
    ), {"Dice": "dice"}),
}
"""


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """The module `nucbook.papers.toys.tables`, with folders of its own; `toys.log()` is what ran."""
    package = tmp_path / "papers" / "toys"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "tables.py").write_text(TABLES)
    log = tmp_path / "log"
    log.touch()
    for name in ("kumar", "tnbc"):
        write(name, tmp_path / "data", size=64)
    monkeypatch.setattr(nucbook.papers, "__path__", [*nucbook.papers.__path__, str(tmp_path / "papers")])
    folders = {
        "NUCBOOK_CACHE": "cache",
        "NUCBOOK_RESULTS": "results",
        "NUCBOOK_DATA": "data",
        "TOYS_LOG": "log",
    }
    for name, value in folders.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    monkeypatch.setenv("NUCBOOK_PROFILE", "short")
    importlib.invalidate_caches()
    module = importlib.import_module("nucbook.papers.toys.tables")
    monkeypatch.setitem(nucbook.method._REGISTERED, "toy", module.METHOD)
    module.log = lambda: log.read_text().splitlines()
    yield module
    for name in ("nucbook.papers.toys.tables", "nucbook.papers.toys"):
        del sys.modules[name]
