from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn

from nucbook import provenance
from nucbook.code import NoSource
from nucbook.training.stages import Busy, OutOfTime, StageRunner, stage


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


LOSSES = """
def loss(x):
    'What is minimised.'
    return 2 * x  # twice
"""
TRAINING = """
from nucbook.training.stages import StageRunner, stage
from mine.losses import loss
@stage()
def teacher(runner, config):
    print("trained", end=" ")
    return loss(3)
def main(folder):
    print(StageRunner(folder=folder).do(teacher, None))
"""


@pytest.mark.slow
def test_a_stage_is_done_again_when_a_loss_it_imports_was_edited(tmp_path):
    package = tmp_path / "mine"
    package.mkdir()
    for name, text in {"__init__": "", "tables": "", "losses": LOSSES, "training": TRAINING}.items():
        (package / f"{name}.py").write_text(text)
    command = [sys.executable, "-c", "import sys, mine.training; mine.training.main(sys.argv[1])", "cache"]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()])}

    def call():
        made = subprocess.run(command, cwd=tmp_path, env=path, capture_output=True, text=True, check=True)
        return made.stdout.strip()

    assert call() == "trained 6"
    (package / "losses.py").write_text(LOSSES.replace("minimised", "made small").replace("  # twice", ""))
    (package / "tables.py").write_text("ROWS = 3")
    assert call() == "6"
    (package / "losses.py").write_text(LOSSES.replace("2 * x", "50 * x"))
    assert call() == "trained 150"


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
    assert sorted(path.name for path in tmp_path.glob("*/*")) == [
        "lock",
        "result.safetensors",
        "stage.json",
    ]


TWO = """
import sys, tempfile, time
from pathlib import Path
from nucbook.training.stages import Busy, StageRunner, stage
@stage()
def counted(runner, config, folder):
    tempfile.mkstemp(dir=folder)
    while not Path(folder, "go").exists():
        time.sleep(0.05)
    return sum(range(1000))
try:
    print(StageRunner(folder=sys.argv[1], wait=sys.argv[3] == "wait").do(counted, None, sys.argv[2]))
except Busy as busy:
    print("busy:", busy.stage)
"""


@pytest.fixture
def two(tmp_path):
    """Starts a process that does the stage of TWO, which ends once `tmp_path/done/go` is there."""
    (tmp_path / "done").mkdir()
    (tmp_path / "two.py").write_text(TWO)
    run = [sys.executable, tmp_path / "two.py", tmp_path / "cache", tmp_path / "done"]
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    pipe = subprocess.PIPE
    return lambda wait: subprocess.Popen([*run, wait], stdout=pipe, stderr=pipe, text=True, env=path)


def begun(folder):
    while not any(path.name != "go" for path in folder.iterdir()):
        time.sleep(0.05)


@pytest.mark.slow
def test_two_processes_do_a_stage_once_and_one_tells_that_it_waits(two, tmp_path):
    first = two("wait")
    begun(tmp_path / "done")
    second = two("wait")
    assert "waiting for another process that is doing two.counted" in second.stderr.readline()
    (tmp_path / "done" / "go").touch()
    assert {process.communicate(timeout=120)[0] for process in (first, second)} == {"499500\n"}
    assert len(os.listdir(tmp_path / "done")) == 2  # "go", and one that did it


@pytest.mark.slow
def test_a_runner_that_does_not_wait_names_the_busy_stage(two, tmp_path):
    first = two("wait")
    begun(tmp_path / "done")
    assert two("no").communicate(timeout=120)[0] == "busy: two.counted\n"
    (tmp_path / "done" / "go").touch()
    assert first.communicate(timeout=120)[0] == two("no").communicate(timeout=120)[0] == "499500\n"


def test_busy_travels_between_processes():
    busy = pickle.loads(pickle.dumps(Busy("ircr.training.densities")))
    assert busy.stage == "ircr.training.densities"
    assert str(busy).startswith("another process is doing ircr.training.densities; ")


@pytest.mark.parametrize(("highest", "bytes_each"), [(200, 1), (300, 2), (40_000, 4)])
def test_labels_are_kept_in_the_smallest_type_and_come_back_in_their_own(runner, highest, bytes_each):
    made = {}
    for dtype in (np.int32, np.int64):
        made[dtype.__name__] = np.arange(256 * 256, dtype=dtype).reshape(256, 256) % (highest + 1)

    @stage()
    def gives(runner, config):
        return {**made, "negative": torch.tensor([-1, 3])}

    back = runner.do(gives, None)
    for name, labels in made.items():
        assert back[name].dtype == labels.dtype
        np.testing.assert_array_equal(back[name], labels)
    assert back["negative"].dtype == torch.int64
    assert back["negative"].tolist() == [-1, 3]
    (kept,) = Path(runner.folder).glob("*/result.safetensors")
    assert kept.stat().st_size == pytest.approx(2 * bytes_each * 256 * 256, abs=2000)


def test_a_result_remembers_by_what_commit_it_was_made(runner, monkeypatch):
    monkeypatch.setattr(provenance, "commit", lambda: "aaaa")
    monkeypatch.setattr(provenance, "clean", lambda: True)
    runner.do(teacher, Config(), samples)
    (made,) = runner.used
    assert (made.commit, made.clean) == ("aaaa", True)
    monkeypatch.setattr(provenance, "commit", lambda: "bbbb")
    later = replace(runner, used=[])
    later.do(teacher, Config(), samples)
    assert later.used == [made]
    later.do(teacher, Config(steps=7), samples)
    assert [each.commit for each in later.used] == ["aaaa", "bbbb"]


def test_a_stage_written_nowhere_is_refused(runner):
    names = {"stage": stage, "__name__": "__main__"}
    exec("@stage()\ndef typed(runner, config):\n    return 1", names)
    with pytest.raises(NoSource, match=r"__main__\.typed has no source to know it by; write it into a file"):
        runner.do(names["typed"], None)
