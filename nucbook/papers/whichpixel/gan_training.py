"""CSinGAN is trained scale by scale: critics and a generator take turns (Lou et al. 2022, Sec. III-B)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nucbook.papers.whichpixel import gan, gan_losses
from nucbook.papers.whichpixel.config import GAN
from nucbook.papers.whichpixel.critics import Critics, region
from nucbook.papers.whichpixel.gan import Pyramid, enlarged, image_at, mask_at, sizes
from nucbook.training.history import History, NotFinite
from nucbook.training.prepare import Models, device, randomness
from nucbook.training.stages import StageRunner, stage
from nucbook.training.turns import Turn


class Diverged(ArithmeticError):
    """A scale of a GAN whose images left the real one; the message names scale and reason."""


class Watch(nn.Module):
    """Counts the rounds in a row whose reconstruction is off by more than `limit`; Diverged at `patience`.

    limit : mean squared difference, see `limit_of`.
    """

    bad: Tensor

    def __init__(self, limit: float, patience: int):
        super().__init__()
        self.limit, self.patience = limit, patience
        self.register_buffer("bad", torch.zeros((), dtype=torch.int64))

    def forward(self, error: Tensor):
        """See the class; `error` is a round's mean squared difference."""
        error = error.detach()
        self.bad.copy_((self.bad + 1) * (error > self.limit))
        if self.bad >= self.patience:
            raise Diverged(
                f"the reconstruction was off by {float(error):.3g}, more than {self.limit:.3g}, for "
                f"{self.patience} rounds"
            )


def limit_of(before: Tensor, real: Tensor) -> float:
    """What a scale's reconstruction may be off by: twice what stands before the scale is, enlarged.

    It may always be off by the variance of the real image, as one of a flat colour is. The scale before may
    be much better than any need be, and a window of many kinds of tissue is learnt slowly: with half of the
    variance there were false alarms.
    """
    variance = gan_losses.reconstruction(real.mean((2, 3), keepdim=True), real)
    return float(torch.maximum(2 * gan_losses.reconstruction(before, real), variance))


@dataclass(frozen=True)
class Round:
    """What a turn at one scale n gets.

    real, real_mask    : the patch, (1, 3, h, w), and its mask, (1, 1, h, w).
    known, known_noise : what the patch is reconstructed from, (1, 3, h, w): the reconstruction of the scale
                         before, enlarged, without noise; at the coarsest scale z* alone.
    masks, noises      : a synthetic mask and noise at scales 0 to n.
    amplitude          : of the noise of scale n.
    between            : (1, 1, 1, 1), where x̂ of the penalty lies.
    """

    real: Tensor
    real_mask: Tensor
    known: Tensor
    known_noise: Tensor
    masks: Sequence[Tensor]
    noises: Sequence[Tensor]
    amplitude: float
    between: Tensor


@dataclass(frozen=True)
class Rounds:
    """Draws the rounds of a scale: one of the synthetic masks, each a list over scales, and noise for it."""

    real: Tensor
    real_mask: Tensor
    known: Tensor
    known_noise: Tensor
    lot: Sequence[Sequence[Tensor]]
    amplitude: float

    def __call__(self, generator: torch.Generator) -> Round:
        """A round, on the CPU."""
        masks = self.lot[int(torch.randint(len(self.lot), (), generator=generator))]
        noises = [torch.randn(1, 3, *own.shape[-2:], generator=generator) for own in masks]
        between = torch.rand(1, 1, 1, 1, generator=generator)
        own = self.real, self.real_mask, self.known, self.known_noise
        return Round(*own, masks, noises, self.amplitude, between)


# -- a round ------------------------------------------------------------------------------------


def painted(models: Models, batch: Round) -> Tensor:
    """The image of this scale for a synthetic mask: the scales before stand still, the last one may learn."""
    before = torch.zeros_like(batch.noises[-1])
    if len(batch.masks) > 1:
        with torch.no_grad():
            before = enlarged(models.before(batch.masks[:-1], batch.noises[:-1]), before)
    return models.generator(before, batch.amplitude * batch.noises[-1], batch.masks[-1])


def critic_step(models: Models, batch: Round, config: GAN) -> dict[str, Tensor]:
    """Each critic tells the fake's component from the real one's, under a gradient penalty (Eqs. 3, 4)."""
    with torch.no_grad():
        fake = painted(models, batch)
    losses = {}
    for component, critic in cast(Critics, models.critics).items():
        regions = region(component, batch.masks[-1]), region(component, batch.real_mask)
        losses[component] = gan_losses.gap(critic, fake, batch.real, *regions)
        losses[f"{component} penalty"] = config.penalty * gan_losses.gradient_penalty(
            critic, fake, batch.real, *regions, batch.between
        )
    return losses


def generator_step(models: Models, batch: Round, config: GAN) -> dict[str, Tensor]:
    """The generator pleases every critic in its region, and reconstructs the patch from z* and its mask.

    With `config.detached` the critics of components score it without teaching it, as in the released code.
    """
    fake = painted(models, batch)
    losses = {}
    for component, critic in cast(Critics, models.critics).items():
        deaf = config.detached and component != "global"
        own = gan_losses.score(critic, fake.detach() if deaf else fake, region(component, batch.masks[-1]))
        losses[f"watched/{component}" if deaf else component] = -_weight(config, component) * own
    again = models.generator(batch.known, batch.known_noise, batch.real_mask)
    error = gan_losses.reconstruction(again, batch.real)
    if config.reconstruction:
        models.watch(error)
    return losses | {"reconstruction": config.reconstruction * error}


def _weight(config: GAN, component: str) -> float:
    weights = {
        "global": config.global_weight,
        "foreground": config.foreground_weight,
        "background": config.background_weight,
    }
    return weights[component]


# -- a GAN --------------------------------------------------------------------------------------


@stage("*")
def csingan(
    runner: StageRunner, config: GAN, image: np.ndarray, labels: np.ndarray, masks: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Train the pyramid of one patch, coarsest scale first; the scales before stand still.

    image  : uint8 (H, W, 3); labels : integer (H, W); masks : synthetic label maps of the same size.

    A scale that diverges (a loss that is no number, or Watch) begins again with other numbers, from the
    last good scale, and says so; after `config.tries` of them Diverged is raised.
    Returns {"weights": of the Pyramid, "errors": mean squared error of each scale's reconstruction,
    "restarts": of each scale, "histories": of each scale}.
    Raises OutOfTime, and ValueError for inputs that do not fit together or hold no nucleus.
    """
    _check(config, image, labels, masks)
    place, scales = device(), sizes(labels.shape, config.scales)
    pyramid = gan.build(config, labels.shape).to(place)
    z = torch.randn(pyramid.fixed.shape, generator=randomness(runner.seed, "fixed noise", 0))
    pyramid.fixed.copy_(z)
    at_scales = lambda own: [mask_at(gan.from_labels(own), size) for size in scales]
    real = [image_at(gan.from_image(image), size) for size in scales]
    real_mask, lot = at_scales(labels), [at_scales(own) for own in masks]
    known, noise = torch.zeros_like(real[0]), z
    critics, again = None, real[0]
    errors, restarts, histories = [], [], []
    for n in range(len(scales)):
        if n:
            known, noise = enlarged(again.cpu(), real[n]), torch.zeros_like(real[n])
            error = gan_losses.reconstruction(known, real[n])
            pyramid.amplitudes[n] = config.noise * error.sqrt()
        limit = limit_of(known if n else real[0].mean((2, 3), keepdim=True), real[n])
        masks_until = [own[: n + 1] for own in lot]
        rounds = Rounds(real[n], real_mask[n], known, noise, masks_until, float(pyramid.amplitudes[n]))
        history, critics, begun = _scale(runner, config, pyramid, critics, n, rounds, limit)
        with torch.no_grad():
            again = pyramid.generators[n](known.to(place), noise.to(place), real_mask[n].to(place))
        errors.append(float(gan_losses.reconstruction(again.cpu(), real[n])))
        restarts.append(begun)
        histories.append(asdict(history))
    made = {"weights": pyramid.state_dict(), "errors": errors}
    return made | {"restarts": restarts, "histories": histories}


def restored(config: GAN, made: Mapping[str, Any], shape: tuple[int, int]) -> Pyramid:
    """The pyramid of a patch of `shape` from what `csingan` kept, on the device."""
    pyramid = gan.build(config, shape)
    pyramid.load_state_dict(made["weights"])
    return pyramid.to(device()).eval()


def _check(config: GAN, image: np.ndarray, labels: np.ndarray, masks: Sequence[np.ndarray]):
    if len(config.iterations) != len(config.scales):
        raise ValueError(
            f"{len(config.iterations)} iterations of {len(config.scales)} scales; give a number for each."
        )
    shapes = {tuple(image.shape[:2]), *(tuple(own.shape) for own in (labels, *masks))}
    if len(shapes) > 1:
        raise ValueError(f"image, labels and masks of {sorted(shapes)} px; they must be of one size.")
    if not (labels > 0).any():
        raise ValueError("a patch without nuclei: there is nothing to learn from; choose another patch.")
    if not len(masks):
        raise ValueError("no synthetic masks; make some with masks.synthetic_masks.")


def _scale(
    runner: StageRunner,
    config: GAN,
    pyramid: Pyramid,
    critics: Critics | None,
    n: int,
    rounds: Rounds,
    limit: float,
) -> tuple[History, Critics, int]:
    """Train scale n in place; returns its history, its critics and how often it began again.

    critics : of the scale before; with them and its generator this one begins, where it is not wider.
    limit   : of the reconstruction, see Watch.
    """
    adam = partial(torch.optim.Adam, betas=(config.momentum, 0.999))
    rate, steps = config.learning_rate, config.iterations[n]
    play = {
        "critic": Turn(partial(critic_step, config=config), ["critics"], config.critic_steps, rate, adam),
        "generator": Turn(partial(generator_step, config=config), ["generator", "watch"], 1, rate, adam),
    }
    width = gan.width_at(config, n)
    why: ArithmeticError | None = None
    for attempt in range(config.tries):
        name = f"scale{n}" + (f"_{attempt}" if attempt else "")
        randomness(runner.seed, name, 0)
        generator, own = gan.Generator(width, config.conditional), Critics(width, config.components)
        if critics is not None and n % config.doubling:
            generator.load_state_dict(pyramid.generators[n - 1].state_dict())
            own.load_state_dict(critics.state_dict())
        models = {
            "before": pyramid.until(n),
            "generator": generator,
            "critics": own,
            "watch": Watch(limit, config.patience),
        }
        try:
            history = runner.fit(
                play, models, rounds, steps=steps, frozen=("before",), stage=name, mixed_precision="no"
            )
        except (Diverged, NotFinite) as reason:
            why = reason
            if attempt + 1 < config.tries:
                warnings.warn(f"{name} of a GAN diverged: {reason}; it begins again.", stacklevel=2)
        else:
            pyramid.generators[n].load_state_dict(generator.state_dict())
            return history, own, attempt
    raise Diverged(
        f"scale {n} of a GAN diverged {config.tries} times, at last because {why}; lower its learning rate, "
        "or choose another patch."
    ) from why
