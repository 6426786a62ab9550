"""The label-free baseline: nuclei without a single label. A method that learns must beat it.

Nuclei hold most of the haematoxylin, so a threshold on that dye finds them (Otsu 1979), and the
watershed of their distance transform separates those that touch. The threshold is each image's own, so
on a slide it is each block's.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes
from skimage.color import rgb2hed
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import disk

from nucbook.instances.components import without_small
from nucbook.instances.watershed import split_by_distance
from nucbook.method import Method
from nucbook.papers.baselines.config import Classical as Config
from nucbook.sample import to_rgb

DEFAULT = Config()


def segment(image: np.ndarray, config: Config = DEFAULT) -> np.ndarray:
    """Nuclei of an image, int32 (H, W), ids 1 to N.

    image : uint8 (H, W, 3), or what `nucbook.sample.to_rgb` converts; InvalidSample for what it refuses.
    """
    return split_by_distance(foreground(image, config), config.min_distance, config.smooth)


def foreground(image: np.ndarray, config: Config = DEFAULT) -> np.ndarray:
    """Where nuclei are, bool (H, W): much haematoxylin (Ruifrok and Johnston 2001), opened, filled."""
    haematoxylin = gaussian(rgb2hed(to_rgb(image))[..., 0], config.blur)
    mask = (haematoxylin > threshold_otsu(haematoxylin)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disk(config.opening))
    return binary_fill_holes(without_small(mask, config.min_area))


METHOD = Method(
    "classical",
    Config,
    networks=lambda config: {},
    maps=lambda networks, images, config: images,
    decode=lambda pixels, config: segment(np.round(pixels.transpose(1, 2, 0) * 255).astype(np.uint8), config),
    learns_from=lambda config: "nothing",
)
