"""Augmentation of whole batches, on the device they lie on.

Geometry moves image and labels together in one resampling; colour changes the image alone. They
are two things because consistency methods need views that share one geometry and differ in colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from skimage.color import rgb_from_hed
from torch import Tensor
from torch.nn import functional as F

from nucbook.data.patches import Batch


@dataclass(frozen=True)
class Geometry:
    """Random flips, rotation, scaling, shear and elastic bending, ending in crops of `size`.

    Takes a `Batch` of larger crops (`source_size` px leaves no blank corner at most rotations) and
    returns one with float images in [0, 1]. Where the resampling leaves the source, the image is
    white and `valid` False.
    """

    size: int  # px, side of the crops that come out
    scale: tuple[float, float] = (0.8, 1.25)  # nuclei become this much larger; Qu et al. 2019
    shear: float = 0.1  # tangent of the angle, at most
    bend: float = 1.5  # px, standard deviation of the elastic displacement
    bend_period: int = 32  # px between independent displacements

    @property
    def source_size(self) -> int:
        """px, side of the crops to hand in."""
        return math.ceil(self.size * 1.4 / min(1.0, self.scale[0]) / 2) * 2

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        flow = self._flow(len(batch), batch.image.shape[-2:], generator).to(batch.image.device)
        image = batch.image.float() / 255
        image = 1 - F.grid_sample(1 - image, flow, mode="bilinear", align_corners=False)  # outside: white
        names = [*batch.maps, "valid"]
        layers = torch.stack([getattr(batch, name).float() for name in names], 1)
        layers = F.grid_sample(layers, flow, mode="nearest", align_corners=False)  # ids < 2**24 stay exact
        maps = {name: layer.to(getattr(batch, name).dtype) for name, layer in zip(names, layers.unbind(1))}
        return Batch(image, **maps)

    def _flow(self, count: int, source: tuple[int, int], generator: torch.Generator) -> Tensor:
        """(B, size, size, 2): for each output pixel, where to look in the source, in [-1, 1]."""
        uniform = lambda low, high: low + (high - low) * torch.rand(count, generator=generator)
        angle = uniform(-math.pi, math.pi)
        zoom = torch.exp(uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        flip = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
        shear = uniform(-self.shear, self.shear)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        matrix = torch.stack(
            [
                torch.stack([cos * flip, -sin + shear * cos], 1),
                torch.stack([sin * flip, cos + shear * sin], 1),
            ],
            1,
        )  # (B, 2, 2)
        axis = torch.arange(self.size) - (self.size - 1) / 2
        pixels = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).view(1, -1, 2)  # (x, y), px
        moved = (pixels @ matrix.transpose(1, 2)).view(count, self.size, self.size, 2)
        if self.bend:
            coarse = max(2, self.size // self.bend_period + 1)
            bends = torch.randn(count, 2, coarse, coarse, generator=generator) * self.bend
            bends = F.interpolate(bends, size=(self.size, self.size), mode="bicubic", align_corners=True)
            moved = moved + bends.permute(0, 2, 3, 1)
        return moved * 2 / torch.tensor([source[1], source[0]])


@dataclass(frozen=True)
class Colour:
    """Random stain, brightness, blur and noise; float images in [0, 1] in and out.

    Stains mix linearly in optical density (Beer–Lambert), so a slide stained differently is a
    linear change there: each stain of Ruifrok and Johnston's haematoxylin–eosin–DAB basis is scaled
    by itself, and the axes are tilted a little, as another scanner would.
    """

    stain: float = 0.25  # relative standard deviation of each stain's strength
    tilt: float = 0.05  # standard deviation of the mixing matrix's entries
    offset: float = 0.05  # standard deviation of an added optical density (brightness)
    blur: float = 1.0  # px, largest Gaussian σ; drawn from [0, blur] for half of the images
    noise: float = 0.03  # largest standard deviation of the noise, intensity

    def __call__(self, image: Tensor, generator: torch.Generator) -> Tensor:
        count = len(image)
        basis = torch.tensor(rgb_from_hed, dtype=torch.float32)  # stain -> RGB density
        strength = torch.exp(self.stain * torch.randn(count, 1, 3, generator=generator))
        mixing = torch.linalg.inv(basis) * strength @ basis  # rows: RGB -> RGB
        mixing = mixing + self.tilt * torch.randn(count, 3, 3, generator=generator)
        shift = self.offset * torch.randn(count, 3, 1, 1, generator=generator)
        density = -torch.log(image.clamp(min=1 / 255))
        density = torch.einsum("bkhw,bkc->bchw", density, mixing.to(image)) + shift.to(image)
        image = torch.exp(-density)
        image = self._blurred(image, generator)
        level = self.noise * torch.rand(count, 1, 1, 1, generator=generator)
        own = torch.Generator(image.device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
        noise = torch.randn(image.shape, generator=own, device=image.device)
        return (image + level.to(image) * noise).clamp(0, 1)

    def _blurred(self, image: Tensor, generator: torch.Generator) -> Tensor:
        count, channels = image.shape[:2]
        chosen = torch.rand(count, generator=generator) < 0.5
        sigma = (self.blur * torch.rand(count, generator=generator) * chosen).clamp(min=1e-2).to(image.device)
        reach = math.ceil(2 * self.blur)
        offsets = torch.arange(-reach, reach + 1, device=image.device)
        kernel = torch.softmax(-0.5 * (offsets / sigma[:, None]) ** 2, 1)  # (B, K)
        kernel = kernel.repeat_interleave(channels, 0)[:, None]  # (B·3, 1, K)
        flat = F.pad(image, (reach,) * 4, mode="reflect").reshape(
            1, count * channels, *[s + 2 * reach for s in image.shape[2:]]
        )
        flat = F.conv2d(flat, kernel[:, :, None], groups=count * channels)
        flat = F.conv2d(flat, kernel[..., None], groups=count * channels)
        return flat.view_as(image)
