"""CSinGAN learns scale by scale: what trains whom, divergence, resumption, bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from nucbook.data.tissue import simulate
from nucbook.papers.baselines.classical import foreground
from nucbook.papers.whichpixel import gan
from nucbook.papers.whichpixel.config import COMPONENTS, GAN, Masks
from nucbook.papers.whichpixel.critics import Critics, region
from nucbook.papers.whichpixel.gan_losses import gap, gradient_penalty
from nucbook.papers.whichpixel.gan_training import (
    Diverged,
    Round,
    Rounds,
    Watch,
    critic_step,
    csingan,
    generator_step,
    limit_of,
    painted,
    restored,
)
from nucbook.papers.whichpixel.masks import synthetic_masks
from nucbook.profile import change
from nucbook.training.prepare import Models
from nucbook.training.stages import OutOfTime, StageRunner

SMALL = {"scales": (12, 16, 24), "iterations": (3, 3, 3), "width": 4, "critic_steps": 1}
TINY = change(GAN.quick(), SMALL)
SIZES = ((12, 12), (16, 16), (24, 24))


@pytest.fixture(scope="module")
def patch():
    """Image, label map and three masks of 24 px, two dark nuclei on bright ground."""
    labels = np.zeros((24, 24), np.int32)
    labels[4:12, 4:10], labels[13:20, 12:20] = 1, 2
    noise = np.random.default_rng(0).integers(-15, 15, (24, 24, 3))
    image = (np.where(labels[..., None] > 0, (90, 50, 120), (220, 170, 210)) + noise).astype(np.uint8)
    return image, labels, [labels[::-1].copy(), labels[:, ::-1].copy(), labels.T.copy()]


@pytest.fixture
def batch(patch):
    image, labels, masks = patch
    torch.manual_seed(0)
    real, mask = gan.from_image(image), gan.from_labels(labels)
    own = [gan.mask_at(gan.from_labels(masks[0]), size) for size in SIZES]
    assert 0.05 < own[-1][..., 5:-5, 5:-5].mean() < 0.95
    noises = [torch.randn(1, 3, *size) for size in SIZES]
    half = torch.full((1, 1, 1, 1), 0.5)
    return Round(real, mask, torch.rand_like(real), torch.zeros_like(real), own, noises, 0.3, half)


@pytest.fixture
def models():
    torch.manual_seed(0)
    pyramid = gan.build(TINY, (24, 24))
    return Models(
        before=pyramid.until(2),
        generator=gan.Generator(4),
        critics=Critics(4),
        watch=Watch(1e9, 5),
    )


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


class Canvas(nn.Module):
    """A generator that paints its weights, pixel by pixel."""

    def __init__(self):
        super().__init__()
        self.image = nn.Parameter(torch.rand(1, 3, 24, 24))

    def forward(self, image, noise, mask):
        return self.image


def runner(folder, seed=0, **limits) -> StageRunner:
    return StageRunner(seed, folder, progress=False, **limits)


def reached(network: nn.Module, loss: torch.Tensor) -> bool:
    """Whether a loss has a gradient in any weight."""
    network.zero_grad()
    loss.backward(retain_graph=True)
    return any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


def same(one, other) -> bool:
    return all(torch.equal(one["weights"][key], other["weights"][key]) for key in one["weights"])


# -- turns --------------------------------------------------------------------------------------


def test_each_critic_learns_from_its_own_losses_and_no_generator_does(models, batch):
    losses = critic_step(models, batch, TINY)
    assert set(losses) == {name for c in COMPONENTS for name in (c, f"{c} penalty")}
    for name, loss in losses.items():
        for component, critic in models.critics.items():
            assert reached(critic, loss) == (component == name.removesuffix(" penalty"))
        assert not reached(models.generator, loss)


def test_critics_compare_the_fake_in_its_mask_with_the_real_image_in_the_real_mask(models, batch):
    with torch.no_grad():
        for weight in models.critics.parameters():
            weight *= 10  # they begin small, and so do the differences
    losses, fake = critic_step(models, batch, TINY), painted(models, batch).detach()
    for component, critic in models.critics.items():
        regions = region(component, batch.masks[-1]), region(component, batch.real_mask)
        torch.testing.assert_close(losses[component], gap(critic, fake, batch.real, *regions))
        penalty = gradient_penalty(critic, fake, batch.real, *regions, batch.between)
        torch.testing.assert_close(losses[f"{component} penalty"], 0.1 * penalty)


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_critic_trains_the_generator(component, models, batch):
    """As it does not in the released code."""
    losses = generator_step(models, batch, TINY)
    assert reached(models.generator, losses[component])
    assert not any(p.grad is not None for p in models.before.parameters())


def test_the_generator_paints_over_the_scales_before(models, batch):
    """Eq. 2 at the last scale; the reconstruction, from the real mask, is compared with the real image."""
    with torch.no_grad():
        before = gan.enlarged(models.before(batch.masks[:2], batch.noises[:2]), batch.real)
        fake = models.generator(before, 0.3 * batch.noises[2], batch.masks[2])
        again = models.generator(batch.known, batch.known_noise, batch.real_mask)
        torch.testing.assert_close(painted(models, batch), fake)
    error = generator_step(models, batch, TINY)["reconstruction"].detach()
    torch.testing.assert_close(error, 10 * (again - batch.real).square().mean())


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_critic_teaches_the_generator_about_its_own_region(component, models, batch):
    models["generator"] = Canvas()
    generator_step(models, batch, TINY)[component].backward()
    moved = models.generator.image.grad.abs().sum(1, keepdim=True) > 0
    where = region(component, batch.masks[-1])
    assert moved[where == 1].any()
    assert not moved[where == 0].any()


def test_detached_critics_of_components_score_and_do_not_teach(models, batch):
    losses = generator_step(models, batch, change(TINY, {"detached": True}))
    assert set(losses) == {"global", "watched/foreground", "watched/background", "reconstruction"}
    assert reached(models.generator, losses["global"])
    for name in ("watched/foreground", "watched/background"):
        assert not reached(models.generator, losses[name])
    whole = generator_step(models, batch, TINY)
    torch.testing.assert_close(losses["watched/foreground"], whole["foreground"])


def test_losses_carry_their_weights(models, batch):
    plain = generator_step(models, batch, TINY)
    weights = {
        "global_weight": 2.0,
        "foreground_weight": 3.0,
        "background_weight": 4.0,
        "reconstruction": 5.0,
    }
    weighted = generator_step(models, batch, change(TINY, weights))
    for name, factor in (("global", 2), ("foreground", 3), ("background", 4), ("reconstruction", 0.5)):
        torch.testing.assert_close(weighted[name], factor * plain[name])
    penalty = critic_step(models, batch, change(TINY, {"penalty": 0.2}))["global penalty"]
    torch.testing.assert_close(penalty, 2 * critic_step(models, batch, TINY)["global penalty"])


def test_a_round_draws_any_of_the_masks_and_noise_of_every_scale():
    lot = [[torch.full((1, 1, *size), float(i)) for size in SIZES] for i in range(3)]
    rounds = Rounds(*[torch.zeros(1)] * 4, lot, 0.5)
    made = [rounds(torch.Generator().manual_seed(seed)) for seed in range(30)]
    assert {float(own.masks[2][0, 0, 0, 0]) for own in made} == {0.0, 1.0, 2.0}
    assert [tuple(noise.shape) for noise in made[0].noises] == [(1, 3, *size) for size in SIZES]
    assert all(0 <= float(own.between) <= 1 for own in made)


# -- the whole ----------------------------------------------------------------------------------


def test_detached_critics_leave_the_gan_as_it_is_without_them(patch, tmp_path):
    """To the bit: so the released code's component-wise discriminator changes nothing."""
    made = {
        name: runner(tmp_path).do(csingan, change(TINY, changes), *patch)
        for name, changes in {
            "whole": {},
            "detached": {"detached": True},
            "without": {"components": ("global",)},
        }.items()
    }
    assert same(made["detached"], made["without"])
    assert not same(made["whole"], made["without"])


def test_every_generator_is_trained_and_keeps_its_noise(patch, tmp_path):
    made = runner(tmp_path).do(csingan, TINY, *patch)
    pyramid = restored(TINY, made, (24, 24))
    again = gan.build(TINY, (24, 24))
    for own, other in zip(pyramid.generators, again.generators):
        assert not any(torch.equal(a, b) for a, b in zip(own.parameters(), other.parameters()))
    assert pyramid.amplitudes[0] == 1
    assert len(made["errors"]) == len(made["histories"]) == 3
    assert made["restarts"] == [0, 0, 0]
    rows = [history["rows"][-1] for history in made["histories"]]
    assert [row["step"] for row in rows] == [3, 3, 3]
    assert {"critic/foreground penalty", "generator/background", "generator/reconstruction"} <= set(rows[0])
    labels = gan.from_labels(patch[1])
    masks = [gan.mask_at(labels, size) for size in SIZES]
    with torch.no_grad():
        known = gan.enlarged(pyramid.reconstruction(masks[:2]), masks[2])
        real = gan.from_image(patch[0])
        error = (known - real).square().mean()
        assert pyramid.amplitudes[2] == pytest.approx(0.1 * float(error) ** 0.5, rel=1e-4)
        again = (pyramid.reconstruction(masks) - real).square().mean()
    assert made["errors"][2] == pytest.approx(float(again), rel=1e-4)


def test_a_scale_begins_as_the_one_before_unless_it_is_wider(patch, tmp_path):
    """Seen where nothing is learnt."""
    config = change(TINY, {"learning_rate": 1e-12, "iterations": (1, 1, 1), "doubling": 2})
    first, second, third = restored(config, runner(tmp_path).do(csingan, config, *patch), (24, 24)).generators
    for one, other in zip(first.parameters(), second.parameters()):
        torch.testing.assert_close(one, other)
    assert third.body[1].out_channels == 2 * second.body[1].out_channels


def test_the_fixed_noise_is_normal_and_of_the_seed(patch, tmp_path):
    fixed = [runner(tmp_path, seed).do(csingan, TINY, *patch)["weights"]["fixed"] for seed in (0, 0, 1)]
    assert fixed[0].std() == pytest.approx(1, abs=0.15)
    assert torch.equal(fixed[0], fixed[1])
    assert not torch.equal(fixed[0], fixed[2])


def test_a_gan_is_kept_by_its_patch(patch, tmp_path):
    image, labels, masks = patch
    desk = runner(tmp_path)
    one = desk.do(csingan, TINY, image, labels, masks)
    assert same(desk.do(csingan, TINY, image.copy(), labels, list(masks)), one)
    assert len(list(tmp_path.iterdir())) == 1
    other = desk.do(csingan, TINY, 255 - image, labels, masks)
    assert not same(other, one)
    assert not same(runner(tmp_path, seed=1).do(csingan, TINY, image, labels, masks), one)
    assert same(runner(tmp_path / "again").do(csingan, TINY, image, labels, masks), one)


class Stop(Exception):
    pass


def dying_at(monkeypatch, call: int, error: Exception):
    """The rounds of a GAN raise `error` once, at a call."""
    draw, calls = Rounds.__call__, iter(range(10**6))

    def drawn(self, generator):
        if next(calls) == call:
            raise error
        return draw(self, generator)

    monkeypatch.setattr(Rounds, "__call__", drawn)


@pytest.mark.slow
def test_a_gan_that_died_resumes_to_the_same_bits(patch, tmp_path, monkeypatch):
    """It dies after a checkpoint of scale 0, has no time, and dies in scale 1."""
    config = change(TINY, {"scales": (12, 16), "iterations": (203, 4)})
    whole = runner(tmp_path / "whole").do(csingan, config, *patch)
    for crash_at in (402, 9):  # the second time it goes on from step 200
        with monkeypatch.context() as broken:
            dying_at(broken, crash_at, Stop())
            with pytest.raises(Stop):
                runner(tmp_path / "died").do(csingan, config, *patch)
        with pytest.raises(OutOfTime):
            runner(tmp_path / "died", minutes=0).do(csingan, config, *patch)
    again = runner(tmp_path / "died").do(csingan, config, *patch)
    assert same(again, whole)
    assert again["errors"] == whole["errors"]
    assert [own["rows"] for own in again["histories"]] == [own["rows"] for own in whole["histories"]]


@pytest.mark.slow
def test_the_label_free_baseline_finds_the_masks_in_the_fakes(tmp_path):
    """Of masks that the GAN never saw.

    Where the critics of components do not teach it, it finds less, and colours of nuclei are less real.
    """
    tile = simulate("kidney", 256, seed=0, patient=10)
    image, labels = tile.image[:96, :96], tile.instances[:96, :96]
    config = change(
        GAN.quick(), {"scales": (30, 44, 65, 96), "iterations": (100, 40, 20, 10), "critic_steps": 3}
    )
    masks, unseen = (synthetic_masks(labels, Masks.quick(), seed) for seed in (0, 9))
    found, colours = {}, {}
    for detached in (False, True):
        own = change(config, {"detached": detached})
        made = runner(tmp_path).do(csingan, own, image, labels, masks)
        fakes = gan.sample(restored(own, made, labels.shape), unseen, own.scales)
        found[detached] = np.mean([dice(foreground(fake), mask > 0) for fake, mask in zip(fakes, unseen)])
        nuclei = np.concatenate([fake[mask > 0] for fake, mask in zip(fakes, unseen)])
        channels = zip(nuclei.T, image[labels > 0].T)
        colours[detached] = np.mean([wasserstein_distance(fake, real) for fake, real in channels])
    assert found[False] > 0.7
    assert found[False] > found[True]
    assert colours[False] < colours[True]


# -- divergence ---------------------------------------------------------------------------------


def test_the_watch_counts_rounds_in_a_row():
    watch, bad, good = Watch(1.0, 3), torch.tensor(1.01), torch.tensor(0.99)
    for error in (bad, bad, good, bad, bad):
        watch(error)
    assert watch.bad == 2
    with pytest.raises(Diverged, match=r"off by 1.01, more than 1, for 3 rounds"):
        watch(bad)
    other = Watch(1.0, 3)
    other.load_state_dict(watch.state_dict())  # it is part of a checkpoint
    with pytest.raises(Diverged):
        other(bad)


def test_a_reconstruction_may_be_twice_as_wrong_as_what_stands_before():
    """And always wrong by half of the variance, which is 4 here."""
    real = torch.tensor([-2.0, 2.0]).repeat(3, 4)[None, :, None]  # (1, 3, 1, 8)
    assert limit_of(torch.zeros_like(real), real) == 8
    assert limit_of(real + 1.5, real) == pytest.approx(4.5)
    assert limit_of(real + 0.1, real) == 4  # as a flat colour


def test_a_scale_that_diverges_begins_again_from_the_last_good_one(patch, tmp_path, monkeypatch):
    whole = runner(tmp_path / "whole").do(csingan, TINY, *patch)
    dying_at(monkeypatch, 6 + 3, Diverged("off"))  # in scale 1; a round has two turns
    with pytest.warns(UserWarning, match=r"scale1 of a GAN diverged: off; it begins again"):
        made = runner(tmp_path / "hurt").do(csingan, TINY, *patch)
    assert made["restarts"] == [0, 1, 0]
    first = lambda own: {k: v for k, v in own["weights"].items() if k.startswith("generators.0.")}
    second = lambda own: own["weights"]["generators.1.body.1.weight"]
    assert same({"weights": first(made)}, {"weights": first(whole)})
    assert not torch.equal(second(made), second(whole))  # other numbers


@pytest.mark.parametrize("changes", [{"learning_rate": 1e6}, {"learning_rate": 3.0}])
def test_a_gan_that_always_diverges_is_given_up(changes, patch, tmp_path):
    config = change(TINY, {"iterations": (12, 12, 12), "tries": 2, "patience": 3} | changes)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        message = r"scale \d of a GAN diverged 2 times, at last because .*; lower its learning rate"
        with pytest.raises(Diverged, match=message):
            runner(tmp_path).do(csingan, config, *patch)
    assert sum("it begins again" in str(own.message) for own in said) == 1


def test_without_a_reconstruction_none_is_watched(models, batch):
    models["watch"] = Watch(-1.0, 1)
    with pytest.raises(Diverged):
        generator_step(models, batch, TINY)
    assert generator_step(models, batch, change(TINY, {"reconstruction": 0.0}))["reconstruction"] == 0


# -- bad input ----------------------------------------------------------------------------------


def test_what_does_not_fit_together_is_refused(patch, tmp_path):
    image, labels, masks = patch
    run = lambda config, *inputs: runner(tmp_path).do(csingan, config, *inputs)
    with pytest.raises(ValueError, match="2 iterations of 3 scales; give a number for each"):
        run(change(TINY, {"iterations": (3, 3)}), image, labels, masks)
    with pytest.raises(ValueError, match=r"of \[\(20, 24\), \(24, 24\)\] px; they must be of one size"):
        run(TINY, image[:20], labels, masks)
    with pytest.raises(ValueError, match="of one size"):
        run(TINY, image, labels, [*masks, masks[0][:, :20]])
    with pytest.raises(ValueError, match="a patch without nuclei: there is nothing to learn from"):
        run(TINY, image, np.zeros_like(labels), masks)
    with pytest.raises(ValueError, match=r"no synthetic masks; make some with masks\.synthetic_masks"):
        run(TINY, image, labels, [])
    with pytest.raises(ValueError, match="choose one or more of global, foreground, background"):
        run(change(TINY, {"components": ()}), image, labels, masks)
    with pytest.raises(ValueError, match="at the coarsest scale"):
        run(change(TINY, {"scales": (8, 16, 24)}), image, labels, masks)


def test_masks_without_nuclei_and_a_patch_of_nuclei_alone_train(patch, tmp_path):
    image, labels, _ = patch
    full = np.ones_like(labels)
    for own, masks in ((labels, [np.zeros_like(labels)]), (full, [full])):
        made = runner(tmp_path).do(csingan, TINY, image, own, masks)
        assert all(torch.isfinite(value).all() for value in made["weights"].values())


# -- configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize("config", [GAN.paper("kumar"), GAN.short("kumar"), GAN.quick()])
def test_every_profile_has_iterations_for_its_scales(config):
    assert len(config.iterations) == len(config.scales)
    assert gan.sizes((config.scales[-1],) * 2, config.scales)


def test_the_values_are_the_papers():
    config = GAN.paper("kumar")
    assert (config.penalty, config.reconstruction, config.width, config.doubling) == (0.1, 10, 32, 4)
    assert (config.global_weight, config.foreground_weight, config.background_weight) == (1, 1, 1)
    assert config.components == COMPONENTS
    assert not config.detached
    assert (Masks.paper("kumar").count, Masks.short("kumar").count) == (50, 50)


def test_an_unconditional_gan_never_sees_a_mask(patch, tmp_path):
    image, labels, masks = patch
    config = change(TINY, {"conditional": False, "components": ("global",)})
    made = runner(tmp_path).do(csingan, config, image, labels, masks)
    other = runner(tmp_path).do(csingan, config, image, labels, masks[::-1])
    assert same(made, other)
    pyramid = restored(config, made, labels.shape)
    one, two = (gan.sample(pyramid, [own], config.scales)[0] for own in masks[:2])
    assert np.array_equal(one, two)
