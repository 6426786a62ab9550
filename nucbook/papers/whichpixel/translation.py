"""pix2pix and CycleGAN: what CSinGAN is compared with (Isola et al. 2017; Zhu et al. 2017).

Each is one GAN for all labelled windows. pix2pix learns from pairs of mask and image, CycleGAN from images
on one side and synthetic masks on the other. Both have CycleGAN's generator, of residual blocks, and a critic
that scores windows of 70 px, at the sizes of `Translation`. Two things of theirs are left out: pix2pix's
dropout, which stands for noise, and CycleGAN's buffer of earlier fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.data.augment import unbent
from nucbook.data.batch import Batch
from nucbook.papers.whichpixel.config import Masks, Translation
from nucbook.papers.whichpixel.gan import from_labels, to_image
from nucbook.papers.whichpixel.synthesis import fakes_of, masks_of
from nucbook.sample import Sample
from nucbook.training.crops import Draw, crops
from nucbook.training.prepare import Models, device
from nucbook.training.stages import StageRunner, stage
from nucbook.training.turns import Turn

STRIDE = 4  # of the generator: H and W of its input must be multiples


# -- networks -----------------------------------------------------------------------------------


def _block(given: int, made: int, side: int, stride: int = 1, up: bool = False) -> nn.Sequential:
    """A convolution that mirrors the border, normalised over the image; `up` doubles H and W first."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2) if up else nn.Identity(),
        nn.Conv2d(given, made, side, stride, side // 2, padding_mode="reflect"),
        nn.InstanceNorm2d(made),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """x plus two convolutions of it."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(*_block(width, width, 3), *list(_block(width, width, 3))[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, H, W) in and out."""
        return x + self.body(x)


class Translator(nn.Sequential):
    """CycleGAN's generator, without noise: (B, given, H, W) to (B, made, H, W) in [-1, 1].

    Up by nearest pixels and a convolution, where the paper has transposed ones, whose weave shows.
    """

    def __init__(self, given: int, made: int, width: int, blocks: int):
        super().__init__(
            _block(given, width, 7),
            _block(width, 2 * width, 3, 2),
            _block(2 * width, 4 * width, 3, 2),
            *(Residual(4 * width) for _ in range(blocks)),
            _block(4 * width, 2 * width, 3, up=True),
            _block(2 * width, width, 3, up=True),
            nn.Conv2d(width, made, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        self.apply(_started)


class PatchCritic(nn.Sequential):
    """Scores windows of 70 px, 8 px apart: (B, given, H, W) to (B, 1, h, w). H and W of 32 px at least."""

    def __init__(self, given: int, width: int):
        layers: list[nn.Module] = [nn.Conv2d(given, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i, stride in enumerate((2, 2, 1)):
            channels = width * 2**i
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride, 1),
                nn.InstanceNorm2d(2 * channels),
                nn.LeakyReLU(0.2),
            ]
        super().__init__(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))
        self.apply(_started)


def _started(module: nn.Module):
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# -- losses and steps ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A step's crops: masks (B, 1, H, W) in {0, 1}, images (B, 3, H, W) in [-1, 1].

    paired : the mask of each image; synthetic : other masks.
    """

    image: Tensor
    paired: Tensor
    synthetic: Tensor


def drawing(real: Draw, synthetic: Draw) -> Callable[[torch.Generator], Drawn]:
    """Draws crops of labelled windows and of synthetic masks."""

    def batches(generator: torch.Generator) -> Drawn:
        known, made = real(generator), synthetic(generator)
        return Drawn(2 * known.image - 1, _mask(known), _mask(made))

    return batches


def _mask(batch: Batch) -> Tensor:
    return (batch.instances > 0)[:, None].float()


def judged(scores: Tensor, real: bool, squared: bool) -> Tensor:
    """How far scores are from "real" or "fake": squared (CycleGAN), or as cross-entropy (pix2pix)."""
    target = torch.full_like(scores, float(real))
    if squared:
        return F.mse_loss(scores, target)
    return F.binary_cross_entropy_with_logits(scores, target)


def _told_apart(critic: nn.Module, real: Tensor, fake: Tensor, squared: bool) -> Tensor:
    """What a critic minimises."""
    return (judged(critic(real), True, squared) + judged(critic(fake), False, squared)) / 2


def pix2pix_critic(models: Models, drawn: Drawn) -> dict[str, Tensor]:
    """The critic tells pairs of mask and fake from pairs of mask and image."""
    with torch.no_grad():
        fake = models.painter(drawn.paired)
    pair = lambda image: torch.cat([image, drawn.paired], 1)
    return {"critic": _told_apart(models.critic, pair(drawn.image), pair(fake), squared=False)}


def pix2pix_generator(models: Models, drawn: Drawn, config: Translation) -> dict[str, Tensor]:
    """The painter passes for real, and paints what is there."""
    fake = models.painter(drawn.paired)
    passed = judged(models.critic(torch.cat([fake, drawn.paired], 1)), True, squared=False)
    return {"passed": passed, "likeness": config.likeness * F.l1_loss(fake, drawn.image)}


def cyclegan_critic(models: Models, drawn: Drawn) -> dict[str, Tensor]:
    """One critic tells painted images from real ones, another outlined masks from synthetic ones."""
    with torch.no_grad():
        image, mask = models.painter(drawn.synthetic), models.outliner(drawn.image)
    return {
        "critic": _told_apart(models.critic, drawn.image, image, squared=True),
        "mask critic": _told_apart(models.mask_critic, 2 * drawn.synthetic - 1, mask, squared=True),
    }


def cyclegan_generator(models: Models, drawn: Drawn, config: Translation) -> dict[str, Tensor]:
    """Painter and outliner pass for real, and what went through both comes back as it was."""
    mask = 2 * drawn.synthetic - 1
    painted, outlined = models.painter(drawn.synthetic), models.outliner(drawn.image)
    again = models.painter((outlined + 1) / 2)
    return {
        "passed": judged(models.critic(painted), True, squared=True),
        "mask passed": judged(models.mask_critic(outlined), True, squared=True),
        "image cycle": config.cycle * F.l1_loss(again, drawn.image),
        "mask cycle": config.cycle * F.l1_loss(models.outliner(painted), mask),
    }


def falling(step: int, steps: int) -> float:
    """Learning rate: constant, then straight down to 0 over the second half (both papers)."""
    return min(1.0, 2 * (1 - step / max(steps, 1)))


# -- stages -------------------------------------------------------------------------------------


@stage("*")
def translator(
    runner: StageRunner, config: Translation, kind: str, windows: Sequence[Sample], masks: Sequence[Sample]
) -> dict[str, Any]:
    """Train pix2pix or CycleGAN on labelled windows and, for CycleGAN, synthetic masks.

    masks : samples of which the masks alone are used.
    Returns {"weights": of the painter, "history"}. Raises OutOfTime.
    """
    torch.manual_seed(runner.seed)
    size = (config.width, config.blocks)
    models: dict[str, nn.Module] = {"painter": Translator(1, 3, *size)}
    step: Callable = partial(pix2pix_generator, config=config)
    critic_step: Callable = pix2pix_critic
    models["critic"] = PatchCritic(4, config.width)
    players, critics = ["painter"], ["critic"]
    if kind == "cyclegan":
        step, critic_step = partial(cyclegan_generator, config=config), cyclegan_critic
        models["critic"] = PatchCritic(3, config.width)
        models |= {"outliner": Translator(3, 1, *size), "mask_critic": PatchCritic(1, config.width)}
        players, critics = ["painter", "outliner"], ["critic", "mask_critic"]
    adam = partial(torch.optim.Adam, betas=(config.momentum, 0.999))
    rate = config.learning_rate
    turns = {
        "critic": Turn(critic_step, critics, 1, rate, adam, falling),
        "generator": Turn(step, players, 1, rate, adam, falling),
    }
    draw = lambda lot: crops(lot, config.crop, config.batch, geometry=unbent(config.crop, True))
    batches = drawing(draw(windows), draw(masks))
    history = runner.fit(turns, models, batches, steps=config.steps, mixed_precision="no")
    return {"weights": models["painter"].state_dict(), "history": asdict(history)}


def translated_samples(
    runner: StageRunner, masks: Masks, config: Translation, windows: Sequence[Sample], kind: str
) -> list[Sample]:
    """`masks.count` fakes of each labelled window, painted by one pix2pix or CycleGAN of all.

    Raises ValueError where no window holds a nucleus; OutOfTime.
    """
    windows, lot = masks_of(windows, masks, runner.seed)
    synthetic = [
        unpainted
        for window, own in zip(windows, lot)
        for unpainted in fakes_of(window, [window.image] * len(own), own)
    ]
    made = runner.do(translator, config, kind, windows, synthetic)
    painter = Translator(1, 3, config.width, config.blocks)
    painter.load_state_dict(made["weights"])
    painter = painter.to(device()).eval()
    return [
        fake
        for window, own in zip(windows, lot)
        for fake in fakes_of(window, [painted(painter, mask) for mask in own], own)
    ]


@torch.no_grad()
def painted(painter: nn.Module, labels: np.ndarray) -> np.ndarray:
    """What a painter makes of a label map (H, W): uint8 (H, W, 3)."""
    where = next(painter.parameters()).device
    height, width = labels.shape
    beyond = (0, -width % STRIDE, 0, -height % STRIDE)
    image = painter(F.pad(from_labels(labels).to(where), beyond))
    return to_image(image[..., :height, :width])
