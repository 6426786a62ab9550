"""Augmentation of whole batches, on the device they lie on.

Geometry moves image and labels together in one resampling; colour changes the image alone. They
are two things because consistency methods need views that share one geometry and differ in colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from skimage.color import rgb_from_hed
from torch import Tensor
from torch.nn import functional as F

from nucbook.data.batch import Batch
from nucbook.data.patches import Places


@dataclass(frozen=True)
class Geometry:
    """Random flips, rotation, scaling, shear and elastic bending of crops of `size`.

    Takes `Places` of a bank and returns a `Batch` with float images in [0, 1]. Where masks are known its
    `context` is `margin` px wider on each side. Where nothing is scaled, sheared or bent, and turned by right
    angles alone, crops lie on whole pixels and nothing is interpolated.
    """

    size: int  # px, side of the crops that come out
    scale: tuple[float, float] = (0.8, 1.25)  # nuclei become this much larger; Qu et al. 2019
    shear: float = 0.1  # tangent of the angle, at most
    bend: float = 1.5  # px, standard deviation of the elastic displacement
    bend_period: int = 32  # px between independent displacements
    margin: int = 32  # px; a nucleus that reaches farther out of the crop counts as cut
    turn: Literal["any", "right", "none"] = "any"  # angle; "right" = a multiple of 90°
    flip: bool = True  # half of the crops

    def __call__(self, places: Places, generator: torch.Generator) -> Batch:
        if self.turn != "any" and self.scale == (1.0, 1.0) and not self.shear and not self.bend:
            half = (self.size - 1) / 2  # a centre that puts the crop on whole pixels
            places = replace(places, centres=(places.centres - half).round() + half)
        margin = self.margin if places.bank.labelled else 0
        offsets = self._offsets(len(places), self.size + 2 * margin, generator, places.bank.device)
        return places.read(offsets, self.size)

    def _offsets(self, count: int, side: int, generator: torch.Generator, device: torch.device) -> Tensor:
        """(B, 2, side, side): for each output pixel, where its source lies from the centre: rows, columns."""
        uniform = lambda low, high: low + (high - low) * torch.rand(count, generator=generator)
        angle = uniform(-math.pi, math.pi)
        if self.turn != "any":
            angle = (angle / (math.pi / 2)).round() * (math.pi / 2) * (self.turn == "right")
        zoom = torch.exp(uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        flip = torch.where((torch.rand(count, generator=generator) < 0.5) & self.flip, -1.0, 1.0)
        shear = uniform(-self.shear, self.shear)
        cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
        matrix = torch.stack(
            [
                torch.stack([cos + shear * sin, sin * flip], 1),
                torch.stack([shear * cos - sin, cos * flip], 1),
            ],
            1,
        ).to(device)  # (B, 2, 2): rows and columns, of the output's rows and columns
        axis = torch.arange(side, device=device) - (side - 1) / 2
        offsets = matrix[:, :, :1, None] * axis[:, None] + matrix[:, :, 1:, None] * axis
        if self.bend:
            coarse = max(2, side // self.bend_period + 1)
            bends = torch.randn(count, 2, coarse, coarse, generator=generator) * self.bend
            # Bicubic interpolation goes along the columns, then along the rows: two products of matrices.
            spread = torch.eye(coarse, device=device)[None, None]
            spread = F.interpolate(spread, size=(side, coarse), mode="bicubic", align_corners=True)
            offsets += spread @ bends.to(device) @ spread.mT
        return offsets


def unbent(size: int, turned: bool) -> Geometry:
    """Crops as they lie in the image, or turned by right angles and flipped."""
    turn: Literal["right", "none"] = "right" if turned else "none"
    return Geometry(size, scale=(1.0, 1.0), shear=0.0, bend=0.0, turn=turn, flip=turned)


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
