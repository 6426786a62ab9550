"""A generator and a critic with gradient penalty (a double backward), three critic steps a round."""

from __future__ import annotations

import copy
import itertools
import sys
from functools import partial

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from nucbook.training import Average, BadCheckpoint, Cosine, NotFinite, Turn, fit, randomness

REPEATS = 3


def networks() -> dict[str, nn.Module]:
    """Both have buffers that move in train mode: running statistics, and the vectors of a spectral norm."""
    torch.manual_seed(0)
    generator = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3), nn.Conv2d(4, 3, 1)
    )
    critic = nn.Sequential(
        spectral_norm(nn.Conv2d(3, 4, 3, padding=1)), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Conv2d(4, 1, 3)
    )
    return {"generator": generator, "critic": critic}


def batches(generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        "real": torch.rand(4, 3, 8, 8, generator=generator),
        "noise": torch.randn(4, 2, 8, 8, generator=generator),
        "between": torch.rand(4, 1, 1, 1, generator=generator),
    }


def critic_step(models, batch) -> dict[str, torch.Tensor]:
    """Wasserstein distance and gradient penalty (Gulrajani et al. 2017, Eq. 3)."""
    real, made = batch["real"], models.generator(batch["noise"])
    between = (real + batch["between"] * (made - real)).requires_grad_()
    (slope,) = torch.autograd.grad(models.critic(between).mean((1, 2, 3)).sum(), between, create_graph=True)
    return {
        "gap": models.critic(made).mean() - models.critic(real).mean(),
        "penalty": 10 * (slope.flatten(1).norm(dim=1) - 1).square().mean(),
    }


def generator_step(models, batch) -> dict[str, torch.Tensor]:
    return {"realism": -models.critic(models.generator(batch["noise"])).mean()}


ADAM = partial(torch.optim.Adam, betas=(0.5, 0.9))


def game(critic=critic_step, generator=generator_step) -> dict[str, Turn]:
    return {
        "critic": Turn(
            critic, ["critic"], REPEATS, learning_rate=1e-2, optimiser=ADAM, schedule=Cosine(2), clip=0.5
        ),
        "generator": Turn(generator, ["generator"], learning_rate=3e-3, optimiser=ADAM),
    }


play = partial(fit, batches=batches, progress=False)


def assert_same(a: nn.Module, b: nn.Module):
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_a_round_is_what_a_plain_loop_by_hand_does():
    """Two rounds, the player that stands still replaced by a copy of it."""
    models, by_hand = networks(), networks()
    play(game(), models, steps=2)
    nets = type("Nets", (), {})()
    players = {name: net.train().to(memory_format=torch.channels_last) for name, net in by_hand.items()}
    optimisers = {
        "critic": ADAM(by_hand["critic"].parameters()),
        "generator": ADAM(by_hand["generator"].parameters()),
    }
    rates = {"critic": [1e-2 / 3, 1e-2 * 2 / 3], "generator": [3e-3, 3e-3]}  # Cosine(2): 1/3, 2/3
    steps = {"critic": critic_step, "generator": generator_step}
    for i in range(2):
        for name, repeat in [("critic", 0), ("critic", 1), ("critic", 2), ("generator", 0)]:
            for other, net in players.items():
                setattr(nets, other, net if other == name else copy.deepcopy(net))
            losses = steps[name](nets, batches(randomness(0, f"train/{name}/{repeat}", i)))
            players[name].zero_grad()
            sum(losses.values()).backward()
            if name == "critic":
                nn.utils.clip_grad_norm_(players[name].parameters(), 0.5)
            optimisers[name].param_groups[0]["lr"] = rates[name][i]
            optimisers[name].step()
    for name, net in by_hand.items():
        for (key, x), y in zip(models[name].state_dict().items(), net.state_dict().values()):
            torch.testing.assert_close(x, y, msg=f"{name}.{key}")


def test_a_turn_moves_its_own_player_and_nothing_of_the_other():
    """Weights and buffers, step by step; the one that stands still plays as it always does, in train mode."""
    trail = []

    def watched(name, step, models, batch):
        trail.append((name, {key: copy.deepcopy(net.state_dict()) for key, net in models.items()}))
        other = {"critic": "generator", "generator": "critic"}[name]
        assert all(p.requires_grad for p in models[name].parameters())
        assert not any(p.requires_grad for p in models[other].parameters())
        assert all(p.grad is None for p in models[other].parameters())
        assert models[other].training
        if name == "critic":
            assert not models.generator(batch["noise"]).requires_grad  # no graph is built for it
        return step(models, batch)

    models = networks()
    play(
        game(partial(watched, "critic", critic_step), partial(watched, "generator", generator_step)),
        models,
        steps=2,
    )
    trail.append(("end", {key: net.state_dict() for key, net in models.items()}))
    assert [name for name, _ in trail] == [*["critic"] * 3, "generator"] * 2 + ["end"]
    for (name, before), (_, after) in itertools.pairwise(trail):
        for player, state in before.items():
            for key, value in state.items():
                moves = player == name and (player, key) != ("critic", "3.bias")  # which no difference sees
                assert torch.equal(value, after[player][key]) != moves, (name, player, key)
    assert models["generator"][1].num_batches_tracked == 2
    assert all(p.requires_grad for net in models.values() for p in net.parameters())


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_generator_learns_through_its_critic_in_any_precision(precision):
    """It comes to make the colour of what is real, which it sees in the critic's gradient alone."""
    seen = set()
    models = networks()
    models["critic"][0].register_forward_hook(lambda module, given, made: seen.add(made.dtype))

    def dark(generator):
        batch = batches(generator)
        return batch | {"real": batch["real"] * 0.1 - 2}

    turns = game() | {"generator": Turn(generator_step, ["generator"], 1, 2e-2, ADAM)}
    history = fit(turns, models, dark, steps=50, mixed_precision=precision, progress=False)
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float32}
    noise = batches(torch.Generator().manual_seed(5))["noise"]
    with torch.no_grad():
        before, after = networks()["generator"].eval()(noise).mean(), models["generator"](noise).mean()
    assert abs(after + 1.95) < abs(before + 1.95) / 2
    assert history.finished


class Stop(Exception):
    pass


@pytest.mark.parametrize("crash_at", [14, 21, 23])  # in a critic's and a generator's turn, and before a round
def test_a_game_that_died_resumes_to_the_same_bits(tmp_path, crash_at):
    """Weights, buffers, both optimisers, teacher, history; over a crash, and a call without time."""

    def run(folder, batches=batches, **limits):
        models = networks()
        models["teacher"] = copy.deepcopy(models["generator"])
        history = fit(
            game(),
            models,
            batches,
            steps=9,
            averages={"teacher": Average("generator", 0.9)},
            checkpoint=folder,
            checkpoint_every=2,
            log_every=3,
            progress=False,
            **limits,
        )
        return models, history

    calls = iter(range(100))

    def dying(generator):
        if next(calls) == crash_at:
            raise Stop
        return batches(generator)

    whole, whole_history = run(tmp_path / "whole")
    with pytest.raises(Stop):
        run(tmp_path / "died", dying)
    _, stopped = run(tmp_path / "died", minutes=0)
    assert stopped.step == crash_at // 4 // 2 * 2
    again, history = run(tmp_path / "died")
    assert history.rows == whole_history.rows
    for name, net in whole.items():
        assert_same(again[name], net)
    kept, expected = (load_file(tmp_path / name / "latest.safetensors") for name in ("died", "whole"))
    assert kept.keys() == expected.keys()
    assert {"optimiser/critic/0/exp_avg", "optimiser/generator/0/exp_avg_sq"} < kept.keys()
    assert kept["optimiser/critic/0/step"] == 9 * REPEATS
    assert kept["optimiser/generator/0/step"] == 9
    for name, tensor in expected.items():
        assert torch.equal(kept[name], tensor), name


def test_averages_follow_once_a_round():
    models = networks()
    models["teacher"] = copy.deepcopy(models["generator"])
    trail = []

    def watched(models, batch):
        trail.append(models.generator[0].weight.detach().clone())
        return generator_step(models, batch)

    play(game(generator=watched), models, steps=3, averages={"teacher": Average("generator", 0.6)})
    first, second, third = [*trail[1:], models["generator"][0].weight.detach()]
    expected = 0.6 * (0.5 * first + 0.5 * second) + 0.4 * third  # α = 0, 0.5, 0.6
    torch.testing.assert_close(models["teacher"][0].weight.detach(), expected)


def test_losses_are_told_apart_by_turn_and_averaged_over_repeats():
    values = {"critic": iter([1.0, 2.0, 6.0, 3.0, 4.0, 2.0]), "generator": iter([10.0, 30.0])}

    def counted(name, models, batch):
        return {"score": models[name][-1].bias.sum() * 0 + next(values[name])}

    turns = game(partial(counted, "critic"), partial(counted, "generator"))
    history = play(turns, networks(), steps=2, log_every=2)
    row = {"step": 2, "loss": 23.0, "critic/score": 3.0, "generator/score": 20.0}
    assert history.rows == [row | {"learning_rate": pytest.approx(1e-2 * 2 / 3)}]  # the critic's


def test_a_loss_that_is_not_finite_is_named_with_its_turn_and_repeat():
    calls = iter(range(100))

    def spoilt(models, batch):
        losses = critic_step(models, batch)
        return losses | {"gap": losses["gap"] * (float("nan") if next(calls) == 7 else 1)}

    message = "step 2 of 'train/critic/1': loss 'critic/gap' is nan.*randomness.seed, 'train/critic/1', 2"
    with pytest.raises(NotFinite, match=message):
        play(game(spoilt), networks(), steps=5)


def test_one_turn_once_a_round_is_the_training_without_turns():
    plain, turn = {"net": networks()["generator"]}, {"net": networks()["generator"]}
    step = lambda models, batch: {"mse": F.mse_loss(models.net(batch["noise"]), batch["real"])}
    play(step, plain, steps=3, learning_rate=0.01, clip=1.0)
    play({"only": Turn(step, ["net"], learning_rate=0.01, clip=1.0)}, turn, steps=3)
    assert_same(plain["net"], turn["net"])


def test_a_part_may_learn_in_two_turns_by_two_optimisers(tmp_path):
    """As the mutual information of InfoGAN teaches both players, beside their own game."""
    both = Turn(
        lambda models, batch: {"both": models.critic(models.generator(batch["noise"])).square().mean()},
        ["generator", "critic.3"],
        optimiser=torch.optim.SGD,
    )
    trail = []

    def watched(models, batch):
        trail.append(copy.deepcopy(models.critic.state_dict()))
        return both.step(models, batch)

    models = networks()
    turns = game() | {"information": Turn(watched, both.parts, optimiser=both.optimiser)}
    play(turns, models, steps=1, checkpoint=tmp_path)
    (before,), after = trail, models["critic"].state_dict()
    moved = {key for key in after if not torch.equal(before[key], after[key])}
    assert moved == {"3.weight", "3.bias"}
    kept = load_file(tmp_path / "latest.safetensors")
    assert kept["optimiser/critic/0/step"] == REPEATS
    assert kept["optimiser/generator/0/step"] == 1
    assert not [name for name in kept if name.startswith("optimiser/information")]  # plain SGD has no state


TURN = Turn(generator_step, ["generator"])


@pytest.mark.parametrize(
    ("turns", "arguments", "message"),
    [
        ({"critic": Turn(critic_step, ["critics"])}, {}, "no part 'critics'; networks are generator, critic"),
        ({"generator": TURN}, {}, r"'critic\.0\.bias' learns in no turn; name it in the parts of one, or"),
        (game(), {"frozen": ["critic"]}, "learning rate for '', but nothing there learns"),
        (game(), {"learning_rate": 0.1}, "learning_rate beside turns; each Turn has its own"),
        (game(), {"optimiser": torch.optim.SGD}, "optimiser beside turns"),
        (game(), {"schedule": Cosine()}, "schedule beside turns"),
        (game(), {"clip": 1.0}, "clip beside turns"),
        ({}, {}, "no turns; give {name: Turn"),
        ({"a/b": TURN}, {}, "no turn can be called 'a/b'"),
        (
            game() | {"critic": Turn(critic_step, ["critic"], learning_rate={"generator": 0.1})},
            {},
            "no learning rate for 'critic.0.bias'",
        ),
    ],
)
def test_turns_that_cannot_be_played(turns, arguments, message):
    models = networks()
    with pytest.raises(ValueError, match=message):
        play(turns, models, steps=1, **arguments)
    assert all(p.requires_grad for net in models.values() for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parts": "critic"}, "parts = 'critic': a turn takes the names of what learns"),
        ({"parts": []}, r"parts = \[\]: a turn takes the names"),
        ({"parts": ["critic"], "repeats": 0}, "0 repeats of a turn; it has one or more"),
    ],
)
def test_turns_that_are_none(arguments, message):
    with pytest.raises(ValueError, match=message):
        Turn(critic_step, **arguments)


def test_a_part_that_stands_still_in_all_turns_is_frozen():
    models = networks()
    play({"generator": TURN}, models, steps=2, frozen=["critic"])
    assert_same(models["critic"], networks()["critic"])
    assert not torch.equal(models["generator"][0].weight, networks()["generator"][0].weight)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"critic": Turn(critic_step, ["critic"], 5, 1e-2, ADAM, Cosine(2), 0.5)}, "turns"),
        ({"critic": Turn(critic_step, ["critic"], 3, 1e-2, ADAM, Cosine(2))}, "clip"),
        ({"critic": Turn(critic_step, ["critic"], 3, 1e-3, ADAM, Cosine(2), 0.5)}, "learning rate"),
        ({"critic": Turn(critic_step, ["critic"], 3, 1e-2, ADAM, clip=0.5)}, "schedule"),
        ({"generator": Turn(generator_step, ["generator"], 1, 3e-3)}, "optimiser"),
    ],
)
def test_a_checkpoint_of_another_game_is_refused(tmp_path, changed, named):
    play(game(), networks(), steps=1, checkpoint=tmp_path)
    play(game(), networks(), steps=1, checkpoint=tmp_path)  # the same game is not another
    with pytest.raises(BadCheckpoint, match=rf"it belongs to another run \(other {named}\)"):
        play(game() | changed, networks(), steps=1, checkpoint=tmp_path)


def test_one_loss_scale_serves_all_optimisers(monkeypatch):
    """float16's scale cancels, though two turns clip one part; only the turn that overflows is left out."""

    def scaled(scale):
        accelerator = Accelerator(cpu=True)
        accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        monkeypatch.setattr(sys.modules[fit.__module__], "accelerator_for", lambda precision: accelerator)
        return accelerator

    def overflowing(models, batch):
        huge = 1e38 if models.step == 1 else 1.0
        return {"mean": huge * models.generator(batch["noise"]).square().mean()}

    sgd = {"learning_rate": 0.5, "optimiser": torch.optim.SGD, "clip": 0.1}
    turns = {
        "both": Turn(generator_step, ["generator", "critic"], **sgd),
        "again": Turn(overflowing, ["generator"], **sgd),
    }
    ends = []
    for scale in (1.0, 1024.0):
        accelerator, models = scaled(scale), networks()
        play(turns, models, steps=2)
        ends.append(models)
    for name, net in ends[0].items():
        for (key, x), y in zip(net.state_dict().items(), ends[1][name].state_dict().values()):
            torch.testing.assert_close(x, y, rtol=1e-2, atol=1e-3, msg=f"{name}.{key}")
    assert accelerator.scaler.get_scale() == 512  # halved once
