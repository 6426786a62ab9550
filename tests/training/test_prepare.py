from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nucbook.training import device, fit, randomness
from nucbook.training.prepare import on_device, precision

TWO_PROCESSES = """
import os, sys, torch
from torch import nn
from torch.nn import functional as F
from nucbook.training import Turn, device, fit
from nucbook.training.prepare import share
rank = int(os.environ["RANK"])
assert device().type == "cpu"
assert share(6) == 3
try:
    share(5)
except ValueError as error:
    assert "a batch of 5 cannot be divided among 2 processes" in str(error)
else:
    raise AssertionError("an odd batch was divided")
torch.manual_seed(rank)                 # unlike starts: the first process's weights must win
net = nn.ModuleDict({"trunk": nn.Linear(3, 4), "a": nn.Linear(4, 1), "b": nn.Linear(4, 1)})
net.forward = lambda x, head: net[head](net["trunk"](x))
def step(models, batch):                # two forward passes, and a head that only one process reaches
    losses = {"a": F.mse_loss(models.net(batch, "a"), batch[:, :1])}
    return losses | ({"b": models.net(batch, "b").square().mean()} if rank else {})
fit(step, {"net": net}, lambda generator: torch.rand(5, 3, generator=generator), steps=3, learning_rate=0.1,
    optimiser=torch.optim.SGD, checkpoint=sys.argv[1], minutes=5, progress=False)
torch.save(net.state_dict(), f"{sys.argv[1]}/{rank}.pt")

torch.manual_seed(rank)
players = {"maker": nn.Linear(3, 3), "critic": nn.Linear(3, 1)}
sgd = {"learning_rate": 0.1, "optimiser": torch.optim.SGD}
score = lambda models, batch: models.critic(models.maker(batch)).square().mean()
fit({"critic": Turn(lambda models, batch: {"a": -score(models, batch)}, ["critic"], 2, **sgd),
     "maker": Turn(lambda models, batch: {"a": score(models, batch)}, ["maker"], **sgd)},
    players, lambda generator: torch.rand(5, 3, generator=generator), steps=2, progress=False)
torch.save(nn.ModuleDict(players).state_dict(), f"{sys.argv[1]}/players-{rank}.pt")
"""


def test_two_processes_share_one_mean_gradient(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    told = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([*launch, script, tmp_path], check=True, capture_output=True, timeout=120, env=told)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))

    torch.manual_seed(0)
    net = nn.ModuleDict({"trunk": nn.Linear(3, 4), "a": nn.Linear(4, 1), "b": nn.Linear(4, 1)})
    for i in range(3):
        loss = 0
        for rank in range(2):
            batch = torch.rand(5, 3, generator=randomness(0, "train", i, rank))
            hidden = net["trunk"](batch)
            loss = loss + F.mse_loss(net["a"](hidden), batch[:, :1]) / 2
            loss = loss + rank * net["b"](hidden).square().mean() / 2
        net.zero_grad()
        loss.backward()
        for p in net.parameters():
            p.data -= 0.1 * p.grad
    for name, expected in net.state_dict().items():
        assert torch.equal(one[name], two[name]), name
        torch.testing.assert_close(one[name], expected, msg=name)

    one, two = (torch.load(tmp_path / f"players-{rank}.pt", weights_only=True) for rank in range(2))
    torch.manual_seed(0)
    players = nn.ModuleDict({"maker": nn.Linear(3, 3), "critic": nn.Linear(3, 1)})
    for i in range(2):
        for name, repeat, sign in [("critic", 0, -1), ("critic", 1, -1), ("maker", 0, 1)]:
            loss = 0
            for rank in range(2):
                batch = torch.rand(5, 3, generator=randomness(0, f"train/{name}/{repeat}", i, rank))
                loss = loss + sign * players["critic"](players["maker"](batch)).square().mean() / 2
            gradients = torch.autograd.grad(loss, list(players[name].parameters()))
            for p, gradient in zip(players[name].parameters(), gradients):
                p.data -= 0.1 * gradient
    for name, expected in players.state_dict().items():
        assert torch.equal(one[name], two[name]), name
        torch.testing.assert_close(one[name], expected, msg=name)


@dataclass
class Batch:
    image: torch.Tensor
    points: list[torch.Tensor]
    name: str


def test_batches_of_any_shape_reach_the_device():
    batch = Batch(torch.zeros(1, 3, 2, 2), [torch.ones(2, 2)], "a")
    moved = on_device({"batch": batch, "pair": (torch.zeros(1), 3)}, torch.device("meta"))
    assert moved["pair"][0].device.type == "meta"
    assert moved["pair"][1] == 3
    moved = on_device(batch, torch.device("meta"))
    assert moved.image.device.type == moved.points[0].device.type == "meta"
    assert moved.name == "a"


@pytest.mark.parametrize(
    ("where", "native", "chosen"),
    [
        ("cuda", True, {"auto": "bf16", "bf16": "bf16", "fp16": "fp16", "no": "no"}),
        ("cuda", False, {"auto": "fp16", "bf16": "fp16", "fp16": "fp16", "no": "no"}),  # before Ampere
        ("cpu", True, {"auto": "no", "bf16": "bf16", "no": "no"}),
        ("mps", True, {"auto": "no", "bf16": "bf16", "no": "no"}),
    ],
)
def test_the_precision_of_each_device(monkeypatch, where, native, chosen):
    """`native`: whether the GPU computes in bfloat16 itself."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    found = {asked: precision(asked, torch.device(where)) for asked in chosen}
    assert found == chosen
    assert precision(None, torch.device(where)) is None  # as `accelerate launch` was told


def test_networks_end_where_training_happens():
    net = nn.Linear(2, 1)
    fit(
        lambda models, batch: {"a": models.net(batch).sum()},
        {"net": net},
        lambda g: torch.rand(3, 2, generator=g),
        steps=1,
        progress=False,
    )
    assert net.weight.device.type == device().type
