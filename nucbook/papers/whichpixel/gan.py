"""The generators of CSinGAN, one a scale, and what they paint (Lou et al. 2022, Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.papers.whichpixel.config import GAN
from nucbook.training.prepare import randomness

LAYERS = 5  # 3×3 convolutions of a generator and of a critic; Sec. IV-A
BORDER = LAYERS  # px that they lose on each side without padding


class Generator(nn.Module):
    """G_n: adds to the image of the scale before what a mask and noise make of it.

    forward: image (B, 3, H, W), noise alike, mask (B, 1, H, W) in {0, 1}; the image is zero at the coarsest
    scale. Returns (B, 3, H, W). Images lie about [-1, 1].

    The five blocks are unpadded, and their input is padded once, as in the released code. They normalise over
    each image: batch normalisation where a batch is one image, and no running statistics, with which images
    would be sampled otherwise than in training.
    """

    def __init__(self, width: int, conditional: bool = True):
        super().__init__()
        self.conditional = conditional
        channels = [4 if conditional else 3] + [width] * (LAYERS - 1)
        blocks = [
            layer
            for given, made in pairwise(channels)
            for layer in (nn.Conv2d(given, made, 3), nn.InstanceNorm2d(made, affine=True), nn.LeakyReLU(0.2))
        ]
        self.body = nn.Sequential(nn.ZeroPad2d(BORDER), *blocks, nn.Conv2d(width, 3, 3), nn.Tanh())
        self.apply(started)

    def forward(self, image: Tensor, noise: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        given = image + noise
        return image + self.body(torch.cat([given, mask], 1) if self.conditional else given)


class Pyramid(nn.Module):
    """The generators of all scales, coarsest first, and the noise they take.

    widths : channels of each scale's generator.

    Buffers: `amplitudes` (N,), standard deviation of the noise of each scale, in units of the image;
    `fixed` (1, 3, h, w), the noise of the coarsest scale z* from which the real patch is reconstructed.
    """

    generators: nn.ModuleList
    amplitudes: Tensor
    fixed: Tensor

    def __init__(self, widths: Sequence[int], conditional: bool, coarsest: tuple[int, int]):
        super().__init__()
        self.generators = nn.ModuleList(Generator(width, conditional) for width in widths)
        self.register_buffer("amplitudes", torch.ones(len(widths)))
        self.register_buffer("fixed", torch.zeros(1, 3, *coarsest))

    def forward(
        self, masks: Sequence[Tensor], noises: Sequence[Tensor], painting: Tensor | None = None
    ) -> Tensor:
        """The image of the last mask's scale, y_n of Eq. 2.

        masks    : one mask at each scale from the coarsest on, (B, 1, h, w); as many as scales are wanted.
        noises   : of each scale, (B, 3, h, w), standard normal.
        painting : an image (B, 3, ·, ·) that stands for the coarsest scale's: paint-to-image of SinGAN.
        """
        image = torch.zeros_like(noises[0])
        for n, (mask, noise) in enumerate(zip(masks, noises)):
            if painting is not None and n == 0:
                image = image_at(painting, noise.shape[-2:])
                continue
            image = self.generators[n](enlarged(image, noise), self.amplitudes[n] * noise, mask)
        return image

    def until(self, n: int) -> Pyramid:
        """The scales before scale n: the same generators, not copies."""
        before = Pyramid([], True, (1, 1))
        before.generators = self.generators[:n]
        before.amplitudes = self.amplitudes[:n].clone()
        return before

    def reconstruction(self, masks: Sequence[Tensor]) -> Tensor:
        """What the scales of `masks` make of z* and no other noise; of the real mask, the real patch."""
        zeros = [torch.zeros_like(mask).expand(-1, 3, -1, -1) for mask in masks]
        return self(masks, [self.fixed.expand_as(zeros[0]), *zeros[1:]])


def build(config: GAN, shape: tuple[int, int]) -> Pyramid:
    """The pyramid of a config for a patch of `shape` px, random weights. Raises ValueError as `sizes`."""
    widths = [width_at(config, n) for n in range(len(config.scales))]
    return Pyramid(widths, config.conditional, sizes(shape, config.scales)[0])


def width_at(config: GAN, n: int) -> int:
    """Channels of generator and critics at scale n."""
    return config.width * 2 ** (n // config.doubling)


def started(module: nn.Module):
    """Weights as SinGAN begins: convolutions N(0, 0.02), gains of norms N(1, 0.02)."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


# -- scales -------------------------------------------------------------------------------------


def sizes(shape: Sequence[int], scales: Sequence[int]) -> list[tuple[int, int]]:
    """(height, width) of a patch of `shape` at each scale: its own at the last, smaller in proportion before.

    Raises ValueError for scales that do not grow, and for a coarsest one that leaves a critic nothing.
    """
    if any(b <= a for a, b in pairwise(scales)):
        raise ValueError(f"scales = {tuple(scales)}: each must be larger than the one before.")
    found = [(round(shape[0] * scale / scales[-1]), round(shape[1] * scale / scales[-1])) for scale in scales]
    if min(found[0]) <= 2 * BORDER:
        raise ValueError(
            f"a patch of {shape[0]}×{shape[1]} px is {found[0][0]}×{found[0][1]} at the coarsest scale, and "
            f"critics need more than {2 * BORDER} px a side; take a larger patch or fewer scales."
        )
    return found


def image_at(image: Tensor, size: Sequence[int]) -> Tensor:
    """Images (B, C, H, W) made smaller to `size`, smoothed first."""
    return F.interpolate(image, size=tuple(size), mode="bicubic", align_corners=False, antialias=True)


def mask_at(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Masks (B, 1, H, W) in {0, 1} at `size`, in {0, 1}: 1 where at least half of a pixel is nucleus."""
    mean = F.interpolate(mask, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return (mean >= 0.5).to(mask.dtype)


def enlarged(image: Tensor, like: Tensor) -> Tensor:
    """Images at the size of another tensor."""
    if image.shape[-2:] == like.shape[-2:]:
        return image
    return F.interpolate(image, size=like.shape[-2:], mode="bicubic", align_corners=False)


# -- arrays -------------------------------------------------------------------------------------


def from_image(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) as (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_image(image: Tensor) -> np.ndarray:
    """(1, 3, H, W) as uint8 (H, W, 3); what lies outside [-1, 1] is cut."""
    return ((image[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def from_labels(labels: np.ndarray) -> Tensor:
    """A label map (H, W) as its mask (1, 1, H, W) in {0, 1}."""
    return torch.from_numpy(np.ascontiguousarray(labels) > 0)[None, None].float()


# -- sampling -----------------------------------------------------------------------------------


@torch.no_grad()
def sample(
    pyramid: Pyramid,
    labels: Sequence[np.ndarray],
    scales: Sequence[int],
    seed: int = 0,
    colours: np.ndarray | None = None,
) -> list[np.ndarray]:
    """An image uint8 (H, W, 3) for each label map (H, W), with noise of its own.

    scales  : of the config the pyramid was trained with.
    colours : uint8 (2, 3), background and nuclei: each mask painted in them takes the place of the coarsest
              image (SinGAN's paint-to-image), for generators that do not see the mask.

    Image i depends on the pyramid, its label map, the seed and i alone.
    """
    where = pyramid.fixed.device
    made = []
    for i, own in enumerate(labels):
        mask = from_labels(own).to(where)
        masks = [mask_at(mask, size) for size in sizes(own.shape, scales)]
        generator = randomness(seed, "fake", i)
        noises = [torch.randn(1, 3, *m.shape[-2:], generator=generator).to(where) for m in masks]
        painting = None if colours is None else from_image(colours[(own > 0).astype(int)]).to(where)
        made.append(to_image(pyramid(masks, noises, painting)))
    return made


def colours_of(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean colours of the background and of the nuclei of a patch, uint8 (2, 3).

    Raises ValueError where either has no pixel.
    """
    nuclei = labels > 0
    if nuclei.all() or not nuclei.any():
        raise ValueError("a patch of nuclei alone, or without any, has no two colours to paint with.")
    return np.stack([image[~nuclei].mean(0), image[nuclei].mean(0)]).round().astype(np.uint8)
