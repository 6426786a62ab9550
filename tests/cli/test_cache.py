"""`nucbook cache` lists what is kept and removes what nothing reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from filelock import FileLock
from typer.testing import CliRunner

from nucbook.cache import LOCK, kept
from nucbook.cli import app
from nucbook.sample import Sample
from nucbook.training.stages import StageRunner, stage
from tests.test_cache import older


@dataclass(frozen=True)
class Config:
    steps: int = 6
    width: int = 2


@stage("steps", "width")
def counted(runner, config, samples):
    return np.zeros(config.steps, np.uint8)


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    samples = [Sample(np.zeros((8, 8, 3), np.uint8), name="a", meta={"dataset": "kumar"})]
    for steps in (6, 2_000_000):
        StageRunner(progress=False).do(counted, Config(steps), samples)
    return lambda *words: CliRunner().invoke(app, ["cache", *words])


def test_the_list_tells_name_size_age_and_what_it_is_of(call, tmp_path):
    *lines, total = call().output.splitlines()
    large, small = sorted(lines, key=lambda line: "steps 6" in line)
    name = "tests.cli.test_cache.counted"
    assert large.split()[:3] == [name, "2.0", "MB"]
    assert large.endswith(" s  seed 0, 1 samples of kumar, steps 2000000")  # the width is the same in both
    assert small.split()[2] == "kB"
    assert total == f"2 stages, 2.0 MB in {tmp_path / 'stages'}"


def test_what_no_code_of_today_reads_is_marked_and_pruned(call):
    older(kept()[0])
    shown = call().output
    assert shown.count(", of older code\n") == 1
    assert "of them 1 stage, " in shown
    assert call("prune", "--unused", "--older-than", "1").output == "removed 0 stages, 0.0 kB\n"
    assert call("prune", "--unused").output.startswith("removed 1 stage, ")
    assert [stage.reachable for stage in kept()] == [True]


def test_pruning_by_age_leaves_a_busy_stage(call):
    busy, _ = kept()
    with FileLock(busy.folder / LOCK):
        shown = call("prune", "--older-than", "0").output
    assert shown.splitlines()[1] == "left tests.cli.test_cache.counted: a process is at it"
    assert [stage.folder for stage in kept()] == [busy.folder]


def test_pruning_needs_a_condition(call):
    done = call("prune")
    assert done.exit_code == 1
    assert "Give --unused, --older-than DAYS, or both" in done.output
    assert len(kept()) == 2
