"""The component-wise discriminator: critics of the image, of its nuclei and of its background (Eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.papers.whichpixel.config import COMPONENTS
from nucbook.papers.whichpixel.gan import BORDER, LAYERS, started


class Critic(nn.Sequential):
    """Scores each window of 11 px of an image: (B, 3, H, W) to (B, 1, H − 10, W − 10).

    It has the generators' blocks without their norms: a gradient penalty is of one image (Gulrajani et al.
    2017, Sec. 4). It pads nothing, for a border of zeros would tell where an image ends.
    """

    def __init__(self, width: int):
        channels = [3] + [width] * (LAYERS - 1)
        blocks: list[nn.Module] = []
        for given, made in pairwise(channels):
            blocks += [nn.Conv2d(given, made, 3), nn.LeakyReLU(0.2)]
        super().__init__(*blocks, nn.Conv2d(width, 1, 3))
        self.apply(started)


class Critics(nn.ModuleDict):
    """One critic for each component, with no weight in common; read as a mapping."""

    def __init__(self, width: int, components: Sequence[str] = COMPONENTS):
        if not components or len(set(components)) < len(components):
            raise ValueError(
                f"components = {tuple(components)!r}; choose one or more of {', '.join(COMPONENTS)}."
            )
        super().__init__({component: Critic(width) for component in components})


def region(component: str, mask: Tensor) -> Tensor:
    """Where a critic looks, (B, 1, H, W) in {0, 1}: everywhere, in the nuclei of a mask, or outside them."""
    if component == "global":
        return torch.ones_like(mask)
    return mask if component == "foreground" else 1 - mask


def inner(region: Tensor) -> Tensor:
    """A region at the windows a critic scores: without the border that it loses."""
    return F.pad(region, [-BORDER] * 4)
