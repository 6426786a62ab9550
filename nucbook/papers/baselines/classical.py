"""The floor: nuclei without a single label. A method that learns must beat it.

Nuclei hold most of the haematoxylin, so a threshold on that dye finds them (Otsu 1979), and the
watershed of their distance transform parts those that touch. The threshold is each image's own, so
on a slide it is each block's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes
from skimage.color import rgb2hed
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import disk

from nucbook.instances.pieces import without_small
from nucbook.instances.watershed import split_by_distance
from nucbook.sample import to_rgb
from nucbook.segmenter import Method


@dataclass(frozen=True)
class Config:
    """For 40× scans (0.25 µm per pixel). Nothing is trained, so all profiles are one."""

    blur: float = 1.5  # px, σ of the Gaussian on the haematoxylin channel: calms the chromatin
    opening: int = 3  # px, radius of the disc that opens the mask: fibres and specks go
    min_area: int = 40  # px, smaller pieces are debris: a small lymphocyte has about 200
    min_distance: int = 6  # px between two peaks of the distance: about a small nucleus' radius
    smooth: float = 1.5  # px, σ of the Gaussian on the distance: fewer peaks from ragged rims

    @classmethod
    def paper(cls, dataset: str) -> Self:
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Self:
        return cls()

    @classmethod
    def quick(cls) -> Self:
        return cls()


def segment(image: np.ndarray, config: Config = Config()) -> np.ndarray:
    """Nuclei of an image, int32 (H, W), ids 1 to N.

    image : uint8 (H, W, 3), or what `nucbook.sample.to_rgb` converts; InvalidSample for what it refuses.
    """
    return split_by_distance(foreground(image, config), config.min_distance, config.smooth)


def foreground(image: np.ndarray, config: Config = Config()) -> np.ndarray:
    """Where nuclei are, bool (H, W): much haematoxylin (Ruifrok and Johnston 2001), opened, filled."""
    haematoxylin = gaussian(rgb2hed(to_rgb(image))[..., 0], config.blur)
    mask = (haematoxylin > threshold_otsu(haematoxylin)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disk(config.opening))
    return binary_fill_holes(without_small(mask, config.min_area))


METHOD = Method(
    name="baselines.classical",
    config=Config,
    networks=lambda config: {},
    maps=lambda networks, images: images,
    decode=lambda pixels, config: segment(np.round(pixels.transpose(1, 2, 0) * 255).astype(np.uint8), config),
)
