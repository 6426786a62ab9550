from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from safetensors.torch import load_file, save_file
from torch import nn

from nucbook.training import BadCheckpoint, checkpoint

RUN = {"seed": "0", "config": "a"}


def numbers(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((50, 40), value), "count": torch.tensor(3)}


@settings(max_examples=25, deadline=None)
@given(
    array=npst.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8, bool]),
        npst.array_shapes(min_dims=0, max_dims=3, min_side=0),
    ),
    rest=st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.none()),
)
def test_gives_back_what_was_saved(tmp_path_factory, array, rest):
    folder = tmp_path_factory.mktemp("c")
    checkpoint.save(folder, {"a": torch.from_numpy(array), "b": torch.ones(2)}, rest, RUN)
    tensors, rest_again = checkpoint.load(folder, RUN)
    np.testing.assert_array_equal(tensors["a"].numpy(), array)
    assert tensors["a"].numpy().dtype == array.dtype
    assert rest_again == rest


def test_networks_that_share_weights_and_odd_layouts(tmp_path):
    shared = torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path, {"a": shared, "b": shared, "c": shared.transpose(0, 1)}, {}, RUN)
    tensors, _ = checkpoint.load(tmp_path, RUN)
    assert torch.equal(tensors["a"], shared)
    assert torch.equal(tensors["b"], shared)
    assert torch.equal(tensors["c"], shared.transpose(0, 1))


def test_there_is_none_yet(tmp_path):
    assert checkpoint.load(tmp_path / "nowhere", RUN) is None


def damage(path: Path, how: str):
    content = bytearray(path.read_bytes())
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "one bit":
        content[-100] ^= 1
        path.write_bytes(content)
    elif how == "not a checkpoint":
        path.write_text("once upon a time")
    elif how == "other safetensors":
        save_file({"w": torch.zeros(2)}, path)
    elif how == "pickle":
        torch.save({"w": torch.zeros(2)}, path)


DAMAGE = ["cut short", "empty", "one bit", "not a checkpoint", "other safetensors", "pickle"]


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_one_is_refused(tmp_path, how):
    checkpoint.save(tmp_path, numbers(1), {}, RUN)
    damage(tmp_path / "latest.safetensors", how)
    with pytest.raises(
        BadCheckpoint, match=r"latest\.safetensors: .*(not a whole file|damaged|not a checkpoint).*delete it"
    ):
        checkpoint.load(tmp_path, RUN)


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_one_gives_way_to_the_previous(tmp_path, how):
    for i in range(3):
        checkpoint.save(tmp_path, numbers(i), {"i": i}, RUN)
    damage(tmp_path / "latest.safetensors", how)
    with pytest.warns(UserWarning, match=r"latest.*Going on from previous\.safetensors"):
        tensors, rest = checkpoint.load(tmp_path, RUN)
    assert rest == {"i": 1}
    assert torch.equal(tensors["w"], numbers(1)["w"])


def test_one_of_another_run_is_refused_by_what_differs(tmp_path):
    checkpoint.save(tmp_path, numbers(1), {}, RUN)
    with pytest.raises(
        BadCheckpoint, match=r"belongs to another run \(other config\); give this run a folder"
    ):
        checkpoint.load(tmp_path, {**RUN, "config": "b"})


def test_a_crash_between_the_two_renames_loses_one_checkpoint_at_most(tmp_path):
    for i in range(2):
        checkpoint.save(tmp_path, numbers(i), {"i": i}, RUN)
    (tmp_path / "latest.safetensors").rename(tmp_path / "previous.safetensors")
    assert checkpoint.load(tmp_path, RUN)[1] == {"i": 1}


def test_a_training_without_turns_is_laid_out_as_ever(tmp_path):
    """So checkpoints from before there were turns are resumed."""
    adam = {"net": (net := nn.Linear(2, 1))}, {"": torch.optim.Adam(net.parameters(), 0.1)}
    net(torch.ones(1, 2)).sum().backward()
    adam[1][""].step()
    tensors, rest = checkpoint.pack(*adam)
    moments = {f"optimiser/{i}/{key}" for i in (0, 1) for key in ("step", "exp_avg", "exp_avg_sq")}
    assert tensors.keys() == {"models/net/weight", "models/net/bias"} | moments
    assert rest == {"optimiser": {}}

    checkpoint.save(tmp_path, tensors, rest, RUN)
    again = {"net": (other := nn.Linear(2, 1))}, {"": torch.optim.Adam(other.parameters(), 0.1)}
    checkpoint.unpack(*checkpoint.load(tmp_path, RUN), *again)
    for optimiser, network in ((adam[1][""], net), (again[1][""], other)):
        optimiser.zero_grad()
        network(torch.tensor([[1.0, -2.0]])).sum().backward()
        optimiser.step()
    assert torch.equal(net.weight, other.weight)


def test_optimisers_of_several_turns_are_kept_apart():
    """Scalars that are no tensors as well."""

    class Counting(torch.optim.SGD):
        def step(self):
            super().step()
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p]["seen"] = self.state[p].get("seen", 0) + 1

    def players():
        nets = {"a": nn.Linear(2, 1), "b": nn.Linear(3, 1)}
        optimisers = {
            "a": torch.optim.Adam(nets["a"].parameters()),
            "b": Counting(nets["b"].parameters(), 0.1),
        }
        return nets, optimisers

    nets, optimisers = players()
    for (name, net), times in zip(nets.items(), (1, 2)):
        for _ in range(times):
            net(torch.ones(1, net.in_features)).sum().backward()
            optimisers[name].step()
    tensors, rest = checkpoint.pack(nets, optimisers)
    assert rest == {"optimiser": {"b/0": {"seen": 2}, "b/1": {"seen": 2}}}
    others, again = players()
    checkpoint.unpack(tensors, rest, others, again)
    assert [state["seen"] for state in again["b"].state.values()] == [2, 2]
    for old, new in zip(optimisers["a"].state.values(), again["a"].state.values(), strict=True):
        assert old.keys() == new.keys()
        assert all(torch.equal(old[key], new[key]) for key in old)


FULL_DISK = """
import resource, sys, torch
from nucbook.training import checkpoint
folder = sys.argv[1]
run = {"seed": "0", "config": "a"}
for i in range(2):
    checkpoint.save(folder, {"w": torch.full((100, 100), float(i))}, {"i": i}, run)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoint.save(folder, {"w": torch.full((100, 100), 2.0)}, {"i": 2}, run)
except OSError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_earlier_ones_intact(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", FULL_DISK, tmp_path], capture_output=True, text=True, check=True
    )
    assert "checkpoint not written" in said.stdout
    assert "free some space" in said.stdout
    assert "latest.safetensors" in said.stdout
    assert sorted(os.listdir(tmp_path)) == ["latest.safetensors", "previous.safetensors"]
    tensors, rest = checkpoint.load(tmp_path, RUN)
    assert rest == {"i": 1}
    assert torch.equal(tensors["w"], torch.full((100, 100), 1.0))
    os.remove(tmp_path / "latest.safetensors")
    assert checkpoint.load(tmp_path, RUN)[1] == {"i": 0}


TRAINING = """
import sys, torch
from torch import nn
from torch.nn import functional as F
from nucbook.training import Average, Cosine, fit

torch.set_num_threads(1)

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Dropout(0.2),
        nn.Conv2d(16, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 1, 1),
    )

calls = 0
def batches(generator):
    global calls
    calls += 1
    print(calls, flush=True)
    image = torch.rand(1, 3, 8, 8, generator=generator)
    return image, image.mean(1, keepdim=True)

def step(models, batch):
    image, target = batch
    return {"mse": F.mse_loss(models.net(image), target),
            "agree": F.mse_loss(models.net(image), models.teacher(image))}

models = {"net": network(), "teacher": network()}
fit(step, models, batches, steps=40, learning_rate=0.01, schedule=Cosine(5),
    averages={"teacher": Average("net", 0.9)}, checkpoint=sys.argv[1], checkpoint_every=4, progress=False)
"""


def training(folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", TRAINING, folder], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_killed_at_three_moments_a_training_ends_with_the_same_bits(tmp_path, seed):
    """SIGKILL after some step, while a checkpoint is written, after some step again; then to the end."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    aside = killed / "latest.safetensors.writing"
    uninterrupted = training(whole)
    steps_seen = []
    moment = random.Random(seed)
    # the checkpoint of step 4 is there by the first; the second waits for one to be written
    first, second, third = moment.randint(5, 14), moment.randint(3, 6), moment.randint(2, 9)
    print(f"seed {seed}: killed at step {first}, in the writing after {second} more, after {third} more")
    for kill_at, writing in ((first, False), (second, True), (third, False)):
        process = training(killed)
        for line in process.stdout:
            if int(line) == kill_at:
                while writing and not aside.exists() and process.poll() is None:
                    pass
                break
        process.kill()
        assert process.wait() == -9
        process.stdout.close()
        found = checkpoint.load(killed, _identity(killed))
        steps_seen.append(found[1]["history"]["step"])
    last = training(killed)
    resumed_steps = len(last.communicate()[0].split())
    uninterrupted.communicate()
    assert (uninterrupted.returncode, last.returncode) == (0, 0)
    assert steps_seen == sorted(steps_seen)
    assert resumed_steps == 40 - steps_seen[-1] < 40
    assert (whole / "latest.safetensors").stat().st_size > 5_000_000  # a write that takes its time
    a, b = load_file(whole / "latest.safetensors"), load_file(killed / "latest.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def _identity(folder: Path) -> dict[str, str]:
    from safetensors import safe_open

    path = folder / "latest.safetensors"
    with safe_open(path if path.exists() else folder / "previous.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["identity"])
