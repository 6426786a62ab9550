from __future__ import annotations

import copy
import signal
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nucbook.training import (
    Average,
    BadCheckpoint,
    Cosine,
    Models,
    NotFinite,
    fit,
    randomness,
)


def small_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(4, 1, 1)
    )


def batches(generator: torch.Generator):
    image = torch.rand(2, 3, 8, 8, generator=generator)
    return {"image": image, "target": image.mean(1, keepdim=True)}


def step(models: Models, batch) -> dict[str, torch.Tensor]:
    return {"mse": F.mse_loss(models.net(batch["image"]), batch["target"])}


def weights(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def assert_same(a: nn.Module, b: nn.Module):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


quiet = partial(fit, step, batches=batches, progress=False)


def test_the_loop_is_what_a_plain_loop_by_hand_does():
    """Two steps of SGD with cosine schedule and clipping, written out."""
    net, by_hand = small_network(), small_network()
    quiet(
        models={"net": net},
        steps=2,
        learning_rate=0.5,
        optimiser=torch.optim.SGD,
        schedule=Cosine(),
        clip=0.1,
    )
    by_hand.train().to(memory_format=torch.channels_last)  # the order in which dropout draws
    for i, rate in enumerate([0.5, 0.25]):  # (1 + cos(π·i/2)) / 2
        batch = batches(randomness(0, "train", i))
        loss = F.mse_loss(by_hand(batch["image"]), batch["target"])
        by_hand.zero_grad()
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in by_hand.parameters()]).norm()
        for p in by_hand.parameters():
            p.data -= rate * p.grad * min(1.0, 0.1 / (norm.item() + 1e-6))
    for (name, x), y in zip(net.state_dict().items(), by_hand.state_dict().values()):
        torch.testing.assert_close(x, y, msg=name)


def test_learns_and_tells_about_it():
    net = small_network()
    history = quiet(models={"net": net}, steps=60, learning_rate=0.02, log_every=20)
    table = history.frame()
    assert history.finished
    assert history.step == 60
    assert list(table.index) == [20, 40, 60]
    assert list(table.columns) == ["loss", "mse", "learning_rate"]
    assert table.loss.iloc[-1] < table.loss.iloc[0] / 2
    assert not net.training


def test_logged_losses_are_means_over_the_steps_that_had_them():
    values = iter([1.0, 2.0, 6.0])

    def step(models, batch):
        value = next(values)
        zero = models.net(batch["image"]).sum() * 0
        return {"a": zero + value} | ({"b": zero + 10.0} if value == 2.0 else {})

    history = fit(step, {"net": small_network()}, batches, steps=3, log_every=3, progress=False)
    assert history.rows == [{"step": 3, "loss": 19 / 3, "a": 3.0, "b": 10.0, "learning_rate": 1e-3}]


def test_every_step_has_its_own_randomness_and_no_other():
    draws = {
        key: torch.rand(3, generator=randomness(*key))
        for key in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1), (0, "a", 0, 1)]
    }
    assert len({tuple(d.tolist()) for d in draws.values()}) == 5
    dropout = F.dropout(torch.ones(50), 0.5)
    assert torch.equal(torch.rand(3, generator=randomness(0, "a", 0)), draws[0, "a", 0])
    randomness(0, "a", 0, 1)
    assert torch.equal(F.dropout(torch.ones(50), 0.5), dropout)


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    "optimiser",
    [
        torch.optim.AdamW,
        torch.optim.Adam,
        partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    ],
)
@pytest.mark.parametrize("crash_at", [3, 11, 16])
def test_a_run_that_died_resumes_to_the_same_weights(tmp_path, optimiser, crash_at):
    """Batch statistics, dropout, optimiser, EMA, a loss that needs the step: all go on as if nothing was."""

    def ramped(models, batch):
        teacher = models.teacher(batch["image"])
        return step(models, batch) | {
            "agree": models.step / models.steps * F.mse_loss(models.net(batch["image"]), teacher)
        }

    def run(folder, batches, checkpoint_every=5):
        models = {"net": small_network(), "teacher": small_network()}
        history = fit(
            ramped,
            models,
            batches,
            steps=20,
            learning_rate=0.01,
            optimiser=optimiser,
            schedule=Cosine(warm_up=3),
            averages={"teacher": Average("net", decay=0.9)},
            clip=1.0,
            checkpoint=folder,
            checkpoint_every=checkpoint_every,
            log_every=4,
            progress=False,
        )
        return models, history

    whole, whole_history = run(None, batches)
    calls = iter(range(100))

    def dying(generator):
        if next(calls) == crash_at:
            raise Stop
        return batches(generator)

    with pytest.raises(Stop):
        run(tmp_path, dying)
    again, history = run(tmp_path, batches)
    assert_same(again["net"], whole["net"])
    assert_same(again["teacher"], whole["teacher"])
    assert history.rows == whole_history.rows


def test_a_time_limit_stops_cleanly_and_the_next_call_goes_on(tmp_path):
    run = partial(quiet, checkpoint=tmp_path, checkpoint_every=10**9, log_every=7)
    net = small_network()
    first = run(models={"net": net}, steps=10**8, minutes=0.005)
    assert not first.finished
    assert 0 < first.step < 10**8
    second_net = small_network()
    second = run(models={"net": second_net}, steps=10**8, minutes=0)
    assert second.step == first.step
    assert second.rows == first.rows
    assert_same(net, second_net)


def test_no_steps_are_a_finished_training():
    net = small_network()
    history = quiet(models={"net": net}, steps=0)
    assert history.finished
    assert history.frame().empty
    assert_same(net, small_network())


def test_a_finished_training_is_not_repeated(tmp_path):
    net = small_network()
    done = quiet(models={"net": net}, steps=3, checkpoint=tmp_path)

    def never(generator):
        raise AssertionError("trained again")

    again = small_network(seed=5)
    history = fit(step, {"net": again}, never, steps=3, checkpoint=tmp_path, progress=False)
    assert history == done
    assert_same(again, net)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"steps": 5}, "steps"),
        ({"seed": 1}, "seed"),
        ({"learning_rate": 0.1}, "learning rate"),
        ({"config": {"margin": 2}}, "config"),
        ({"schedule": Cosine()}, "schedule"),
        ({"optimiser": partial(torch.optim.AdamW, weight_decay=0.3)}, "optimiser"),
        ({"models": {"net": nn.Sequential(nn.Conv2d(3, 1, 1))}}, "networks"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changed, named):
    arguments = {"models": {"net": small_network()}, "steps": 4, "checkpoint": tmp_path}
    quiet(**arguments)
    with pytest.raises(
        BadCheckpoint, match=rf"latest\.safetensors: it belongs to another run \(other {named}\)"
    ):
        quiet(**{**arguments, **changed})


def test_phases_that_freeze_parts():
    net, encoder_before = small_network(), weights(small_network()[:2])
    quiet(models={"net": net}, steps=3, frozen=["net.0", "net.1"])
    for name, value in weights(net[:2]).items():
        np.testing.assert_array_equal(value, encoder_before[name], err_msg=name)  # batch statistics too
    assert not torch.equal(net[4].weight, small_network()[4].weight)
    assert all(p.requires_grad for p in net.parameters())  # undone afterwards
    quiet(models={"net": net}, steps=3)
    assert not np.array_equal(net[0].weight.detach().numpy(), encoder_before["0.weight"])


def test_two_networks_teach_each_other():
    def step(models, batch):
        one, two = models.one(batch["image"]), models.two(batch["image"])
        return {"one": F.mse_loss(one, two.detach()), "two": F.mse_loss(two, one.detach())}

    models = {"one": small_network(0), "two": small_network(1)}
    history = fit(step, models, batches, steps=60, learning_rate=0.02, log_every=20, progress=False)
    assert history.rows[-1]["one"] < history.rows[0]["one"] / 2
    for name, seed in (("one", 0), ("two", 1)):
        assert not torch.equal(models[name][0].weight, small_network(seed)[0].weight)


def test_a_teacher_is_the_average_of_its_student():
    models = {"net": small_network(), "teacher": small_network(seed=3)}
    trail = []

    def watched(models, batch):
        trail.append(models.net[0].weight.detach().clone())
        assert models.net.training
        assert not models.teacher.training
        return step(models, batch)

    fit(watched, models, batches, steps=3, averages={"teacher": Average("net", 0.6)}, progress=False)
    after = [*trail[1:], models["net"][0].weight.detach()]
    expected = after[0]  # α = 0, 0.5, 0.6
    expected = 0.5 * expected + 0.5 * after[1]
    expected = 0.6 * expected + 0.4 * after[2]
    torch.testing.assert_close(models["teacher"][0].weight.detach(), expected)
    assert models["teacher"][1].num_batches_tracked == 3


def test_learning_rates_by_part():
    net = small_network()
    quiet(models={"net": net}, steps=1, learning_rate={"": 0.5, "net.4": 0.0}, optimiser=torch.optim.SGD)
    assert torch.equal(net[4].weight, small_network()[4].weight)
    assert not torch.equal(net[0].weight, small_network()[0].weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": {"net.0": 0.1}}, "no learning rate for 'net.1.weight'; add ''"),
        (
            {"learning_rate": {"": 0.1, "net.decoder": 0.1}},
            "learning rate for 'net.decoder', but nothing there learns",
        ),
        ({"frozen": ["net.decoder"]}, "no part 'net.decoder'; networks are net"),
        ({"averages": {"teacher": Average("net")}}, "no part 'teacher'"),
        ({"averages": {"net": Average("student")}}, "no part 'student'"),
        ({"frozen": ["net"]}, "learning rate for '', but nothing there learns"),
        ({"models": {"steps": nn.Conv2d(3, 1, 1)}}, "no network can be called 'steps'"),
    ],
)
def test_what_is_asked_of_parts_that_are_not_there(arguments, message):
    with pytest.raises(ValueError, match=message):
        quiet(**{"models": {"net": small_network()}, "steps": 1, **arguments})


def test_a_network_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="no network 'unet'; there are net"):
        fit(
            lambda models, batch: {"a": models.unet(batch)},
            {"net": small_network()},
            batches,
            steps=1,
            progress=False,
        )


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (lambda out: {}, "step 0 of 'train': no loss depends on a weight that learns .none was returned"),
        (lambda out: {"a": out.detach().sum()}, r"no loss depends on a weight that learns \(a\)"),
        (lambda out: {"a": out}, r"loss 'a' is a shape \(2, 1, 8, 8\); return scalar tensors"),
        (lambda out: {"a": 1.0}, "loss 'a' is a float"),
    ],
)
def test_losses_that_cannot_be_summed(losses, message):
    with pytest.raises(ValueError, match=message):
        fit(
            lambda models, batch: losses(models.net(batch["image"])),
            {"net": small_network()},
            batches,
            steps=1,
            progress=False,
        )


def test_what_is_watched_is_kept_and_not_minimised():
    def seen(models, batch):
        return step(models, batch) | {"watched/step": torch.tensor(float(models.step)), "watched/odd": nan}

    nan = torch.tensor(float("nan"))  # may be: nothing follows from it
    plain, watching = ({"net": small_network()} for _ in range(2))
    expected = fit(step, plain, batches, steps=4, log_every=2, progress=False)
    history = fit(seen, watching, batches, steps=4, log_every=2, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(plain["net"].parameters(), watching["net"].parameters()))
    assert [row["loss"] for row in history.rows] == [row["loss"] for row in expected.rows]
    assert [row["watched/step"] for row in history.rows] == [0.5, 2.5]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_named_with_its_step_and_never_kept(tmp_path, value):
    def spoilt(models, batch):
        good = step(models, batch)["mse"]
        return {"good": good, "bad": good * 0 + (value if models.step == 6 else 1.0)}

    with pytest.raises(NotFinite, match=f"step 6 of 'train': loss 'bad' is {value}.*lower the learning rate"):
        fit(
            spoilt,
            {"net": small_network()},
            batches,
            steps=20,
            log_every=10,
            checkpoint=tmp_path,
            checkpoint_every=4,
            progress=False,
        )
    resumed = fit(
        step,
        {"net": small_network()},
        batches,
        steps=20,
        log_every=10,
        checkpoint=tmp_path,
        minutes=0,
        progress=False,
    )
    assert resumed.step == 4


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_precision_is_of_the_forward_pass_alone(precision):
    """Convolutions compute in bfloat16; what a loss gets, and the weights, are float32; in one process."""
    seen = {}
    net = small_network()
    net[0].register_forward_hook(lambda module, given, made: seen.update(inside=made.dtype))

    def watched(models, batch):
        out = models.net(batch["image"])
        seen["outside"] = out.dtype
        return {"mse": F.mse_loss(out, batch["target"])}

    fit(watched, {"net": net}, batches, steps=2, mixed_precision=precision, progress=False)
    assert seen == {
        "inside": torch.bfloat16 if precision == "bf16" else torch.float32,
        "outside": torch.float32,
    }
    assert net[0].weight.dtype == torch.float32
    assert net(torch.zeros(1, 3, 8, 8)).dtype == torch.float32
    assert_same(copy.deepcopy(net), net)


@pytest.fixture
def interruptible():
    """As in a terminal; what runs in the background may ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_lets_the_step_end_and_nothing_is_lost(tmp_path):
    whole, stopped = small_network(), small_network()
    fit(step, {"net": whole}, batches, steps=8, progress=False)

    def interrupted_step(models, batch):
        if models.step == 4:
            signal.raise_signal(signal.SIGINT)
        return step(models, batch)

    orders = {"steps": 8, "checkpoint": tmp_path, "progress": False}
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted_step, {"net": stopped}, batches, **orders)
    assert signal.getsignal(signal.SIGINT) is before
    seen = []
    history = fit(lambda *a: seen.append(a[0].step) or step(*a), {"net": stopped}, batches, **orders)
    assert seen == [5, 6, 7]
    assert history.finished
    for name, tensor in weights(whole).items():
        assert np.array_equal(tensor, weights(stopped)[name]), name


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_does_not_wait(tmp_path):
    def twice(models, batch):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the step went on")

    with pytest.raises(KeyboardInterrupt):
        fit(twice, {"net": small_network()}, batches, steps=3, checkpoint=tmp_path, progress=False)


def test_fewer_than_no_steps_are_refused():
    with pytest.raises(ValueError, match="-5 steps of 'train'"):
        fit(step, {"net": small_network()}, batches, steps=-5)
