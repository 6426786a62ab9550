"""What is kept is listed with what it is of, and what nothing reads any more can be removed."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest
from filelock import FileLock

from nucbook.cache import LOCK, NOTE, cache_folder, kept, prune, stages_folder
from nucbook.sample import Sample
from nucbook.training.stages import OutOfTime, StageRunner, stage


@dataclass(frozen=True)
class Config:
    steps: int = 6
    width: int = 2


@stage("steps")
def counted(runner, config, samples):
    return np.arange(config.steps)


@stage()
def stopped(runner, config):
    raise OutOfTime


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    return StageRunner(seed=3, progress=False)


def older(stage):
    """As a stage is after the code it uses was edited."""
    note = stage.folder / NOTE
    note.write_text(note.read_text().replace('"code": "', '"code": "0'))


samples = [Sample(np.zeros((8, 8, 3), np.uint8), name=f"{i}", meta={"dataset": "kumar"}) for i in range(2)]


def test_the_cache_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert stages_folder() == tmp_path / "stages"
    assert kept() == []


def test_a_stage_is_listed_with_what_it_is_of(runner):
    runner.do(counted, Config(), samples)
    with pytest.raises(OutOfTime):
        runner.do(stopped, None)
    first, second = kept()
    assert first.stage == "tests.test_cache.counted"
    assert (first.seed, first.samples, first.config) == (3, "2 samples of kumar", {"steps": 6})
    assert (first.finished, first.reachable) == (True, True)
    assert first.size == sum(file.stat().st_size for file in first.folder.iterdir())
    assert 0 <= first.age < 600
    assert (second.stage, second.finished) == ("tests.test_cache.stopped", False)


def test_stages_of_older_code_cannot_be_reached(runner):
    runner.do(counted, Config(), samples)
    runner.do(counted, Config(steps=7), samples)
    older(kept()[0])
    (stages_folder() / "ircr.training.teacher-0123456789abcdef").mkdir()  # before there were notes
    found = {(stage.stage, stage.reachable) for stage in kept()}
    assert found == {
        ("ircr.training.teacher", False),
        ("tests.test_cache.counted", False),
        ("tests.test_cache.counted", True),
    }


def test_pruning_leaves_what_a_process_is_at(runner):
    runner.do(counted, Config(), samples)
    runner.do(counted, Config(steps=7), samples)
    first, second = kept()
    with FileLock(first.folder / LOCK):
        removed, busy = prune([first, second])
    assert (removed, busy) == ([second], [first])
    assert [stage.folder for stage in kept()] == [first.folder]
    assert (first.folder / NOTE).exists()
    assert not second.folder.exists()
    runner.do(counted, Config(**second.config), samples)  # and is done again where it is wanted
    assert len(kept()) == 2


def test_the_age_is_that_of_the_last_writing(runner):
    runner.do(counted, Config(), samples)
    (stage,) = kept()
    for file in stage.folder.iterdir():
        os.utime(file, (0, os.stat(file).st_mtime - 5 * 86400))
    assert kept()[0].age == pytest.approx(stage.age + 5 * 86400, abs=60)
