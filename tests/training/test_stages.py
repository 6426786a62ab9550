from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn

from nucbook.training.stages import OutOfTime, StageRunner, cache_folder, stage


@dataclass(frozen=True)
class Config:
    steps: int = 6
    threshold: float = 0.5
    width: int = 2


done: list[str] = []


@pytest.fixture(autouse=True)
def _fresh():
    done.clear()


@stage("steps", "width")
def teacher(runner, config, samples):
    done.append("teacher")
    torch.manual_seed(runner.seed)
    models = {"net": nn.Linear(3, config.width)}
    history = runner.fit(
        lambda models, batch: {"a": models.net(batch).square().mean()},
        models,
        lambda generator: samples + torch.rand(4, 3, generator=generator),
        steps=config.steps,
        checkpoint_every=2,
    )
    return {"net": models["net"].state_dict(), "history": asdict(history)}


@stage("threshold")
def labels(runner, config, trained):
    done.append("labels")
    return trained["net"]["weight"].numpy() > config.threshold


@pytest.fixture
def runner(tmp_path):
    return StageRunner(folder=tmp_path, progress=False)


samples = torch.ones(4, 3)


def test_rows_that_share_a_teacher_train_it_once(runner):
    first = runner.do(teacher, Config(threshold=0.1), samples)
    second = runner.do(teacher, Config(threshold=0.9), samples)
    assert done == ["teacher"]
    assert torch.equal(first["net"]["weight"], second["net"]["weight"])
    assert first["history"] == second["history"]
    low = runner.do(labels, Config(threshold=-9.0), first)
    high = runner.do(labels, Config(threshold=9.0), second)
    assert done == ["teacher", "labels", "labels"]
    assert low.all()
    assert not high.any()


def test_anything_a_stage_depends_on_makes_it_another(runner, tmp_path):
    runner.do(teacher, Config(), samples)
    runner.do(teacher, Config(steps=7), samples)
    runner.do(teacher, Config(), samples + 1)
    StageRunner(seed=1, folder=tmp_path, progress=False).do(teacher, Config(), samples)
    assert done == ["teacher"] * 4

    @stage("steps", "width", version=2)
    def newer(runner, config, samples):
        done.append("newer")

    newer.__module__, newer.__name__ = teacher.__module__, teacher.__name__
    assert runner.do(newer, Config(), samples) is None
    assert done[-1] == "newer"


def test_a_stage_sees_only_the_fields_it_declares(runner):
    @stage("steps")
    def careless(runner, config):
        return config.width

    with pytest.raises(AttributeError, match=r"careless' reads config\.width, which its @stage"):
        runner.do(careless, Config())

    @stage("*")
    def greedy(runner, config):
        return [config.width, config.threshold]

    assert runner.do(greedy, Config()) == [2, 0.5]


@settings(max_examples=30, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**40), 2**40)
        | st.floats(allow_nan=False)
        | st.text()
        | npst.arrays(
            st.sampled_from([np.uint8, np.int32, np.float32, bool]), npst.array_shapes(min_dims=0, min_side=0)
        ),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
        max_leaves=8,
    )
)
def test_what_comes_back_is_what_was_returned(tmp_path_factory, tree):
    @stage()
    def gives(runner, config):
        return tree

    runner = StageRunner(folder=tmp_path_factory.mktemp("stages"))
    np.testing.assert_equal(runner.do(gives, Config()), tree)
    np.testing.assert_equal(runner.do(gives, Config()), tree)


def test_what_cannot_be_kept_without_code_is_refused(runner):
    @stage()
    def gives(runner, config):
        return {"net": nn.Linear(1, 1)}

    with pytest.raises(TypeError, match="gives' returns a Linear; return plain data, arrays, tensors"):
        runner.do(gives, Config())


def test_a_stage_out_of_time_goes_on_at_its_checkpoint(runner, tmp_path):
    hurried = StageRunner(folder=tmp_path, minutes=0.004, progress=False)
    with pytest.raises(OutOfTime, match=r"came after \d+ steps of .*teacher"):
        hurried.do(teacher, Config(steps=10**8), samples)
    late = StageRunner(folder=tmp_path, minutes=0)
    with pytest.raises(OutOfTime, match="no time left for"):
        late.do(teacher, Config(), samples)
    steps = []
    for _ in range(2):
        with pytest.raises(OutOfTime) as stopped:
            StageRunner(folder=tmp_path, minutes=0.004, progress=False).do(
                teacher, Config(steps=10**8), samples
            )
        steps.append(int(str(stopped.value).split("after ")[1].split()[0]))
    assert steps[0] < steps[1]


def test_a_damaged_result_is_done_again(runner, tmp_path):
    runner.do(labels, Config(), {"net": {"weight": torch.zeros(3)}})
    (kept,) = tmp_path.glob("*/result.safetensors")
    kept.write_bytes(kept.read_bytes()[:-2])
    with pytest.warns(UserWarning, match=r"result\.safetensors: not a whole file .*this stage is done again"):
        again = runner.do(labels, Config(), {"net": {"weight": torch.zeros(3)}})
    assert done == ["labels", "labels"]
    assert not again.any()


def test_a_finished_stage_leaves_no_checkpoint(runner, tmp_path):
    runner.do(teacher, Config(), samples)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["lock", "result.safetensors"]


TWO = """
import sys
from nucbook.training.stages import StageRunner, stage
@stage()
def counted(runner, config, folder):
    import tempfile
    tempfile.mkstemp(dir=folder)
    return sum(i * i for i in range(3_000_000))
print(StageRunner(folder=sys.argv[1]).do(counted, None, sys.argv[2]))
"""


def test_two_processes_do_a_stage_once(tmp_path):
    (tmp_path / "done").mkdir()
    run = [sys.executable, "-c", TWO, tmp_path / "cache", tmp_path / "done"]
    both = [subprocess.Popen(run, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate(timeout=120)[0] for process in both}
    assert len(said) == 1
    assert len(os.listdir(tmp_path / "done")) == 1


def test_the_cache_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
