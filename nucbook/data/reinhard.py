"""Colour normalisation: an image gets the mean colour and the contrast of others (Reinhard et al. 2001).

Stains and scanners differ between hospitals; a network that met one of them sees another as another tissue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

SAMPLES = 8  # windows along either side of a large image that its colours are measured in
WINDOW = 256  # px, their side
GLASS = 95.0  # L* from which a pixel shows no tissue
FLAT = 1.0  # least deviation of a channel that is stretched; below it noise would become contrast


class Colours(NamedTuple):
    """Mean and standard deviation of L*, a* and b* (CIELAB, D65), over tissue."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


KUMAR = Colours((56.4, 29.0, -11.1), (16.2, 8.4, 7.4))
"""Of Kumar's twelve training images as Liu et al. 2022 split them: the means over images."""


def colours(image: Any) -> Colours:
    """The colours of an image, measured where it shows tissue; everywhere where it shows none.

    image : what `image[top:bottom, left:right]` reads uint8 RGB pixels from and has a `shape`: an array
            (H, W, 3), a slide. Of a large one 64 windows of 256 px are read, on a regular grid.
    """
    height, width = image.shape[:2]
    windows = [(slice(0, height), slice(0, width))]
    if height * width > (SAMPLES * WINDOW) ** 2:
        rows, columns = (_windows(side) for side in (height, width))
        windows = [(row, column) for row in rows for column in columns]
    pixels = np.concatenate([_lab(np.asarray(image[window])).reshape(-1, 3) for window in windows])
    tissue = pixels[pixels[:, 0] < GLASS]
    chosen = tissue if len(tissue) else pixels
    mean, deviation = (of(0, dtype=np.float64).tolist() for of in (chosen.mean, chosen.std))
    return Colours(tuple(mean), tuple(deviation))


def normalise(image: np.ndarray, own: Colours, wanted: Colours = KUMAR) -> np.ndarray:
    """An image uint8 (H, W, 3) whose colours `own` become the `wanted` ones; what leaves RGB is clipped.

    Reinhard, Ashikhmin, Gooch and Shirley, IEEE Computer Graphics and Applications 21 (2001) 34–41, Eqs. 10
    and 11, in CIELAB instead of their lαβ, as is usual for histology. A channel that hardly varies keeps its
    contrast.
    """
    pairs = zip(own.deviation, wanted.deviation)
    stretch = [1 if before < FLAT else after / before for before, after in pairs]
    at, to, by = (np.array(each, np.float32) for each in (own.mean, wanted.mean, stretch))
    lab = (_lab(image) - at) * by + to
    lab[..., 0] = lab[..., 0].clip(0, 100)
    rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return (rgb.clip(0, 1) * 255).round().astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Normalised:
    """An image of any size that is normalised as it is read, by the colours of its whole."""

    image: Any
    own: Colours
    wanted: Colours = KUMAR

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the image."""
        return tuple(self.image.shape)

    def __getitem__(self, window: Any) -> np.ndarray:
        return normalise(np.asarray(self.image[window]), self.own, self.wanted)


def _windows(side: int) -> list[slice]:
    """Where windows begin and end along a side, evenly over it."""
    starts = np.unique(np.linspace(0, max(side - WINDOW, 0), SAMPLES).astype(int)).tolist()
    return [slice(start, start + WINDOW) for start in starts]


def _lab(image: np.ndarray) -> np.ndarray:
    """float32 (H, W, 3): L* in [0, 100], a*, b*."""
    return cv2.cvtColor(np.ascontiguousarray(image, np.uint8).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
