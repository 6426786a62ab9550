"""Draws the README's picture: simulated tissue of four organs, its nuclei outlined from the diagonal on.

Run `python book/_static/make_hero.py`; hero.png beside it is committed (256 colours, to stay small).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image
from skimage.segmentation import find_boundaries

from nucbook.data.tissue import simulate
from nucbook.sample import Sample

TILES_OF = ("lung", "kidney", "breast", "bladder")
DRAWN = 16  # tiles of each organ to choose from
SIDE, GAP = 232, 6  # px


def fullest(organ: str) -> Sample:
    """Of some tiles of an organ, the one whose nuclei cover most."""
    return max((simulate(organ, SIDE, seed) for seed in range(DRAWN)), key=lambda s: (s.label_map > 0).mean())


def split_view(sample: Sample) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): the image on the upper left, every nucleus in its colour on the lower right."""
    labels, image = sample.label_map, sample.image / 255
    colours = colormaps["tab20"](np.random.default_rng(0).integers(0, 20, labels.max() + 1))[:, :3]
    shown = np.where(labels[..., None] > 0, 0.3 * image + 0.7 * colours[labels], 0.55 + 0.45 * image)
    shown[find_boundaries(labels, mode="inner")] *= 0.6
    row, column = np.mgrid[:SIDE, :SIDE]
    side = row + column - SIDE + 1
    image = np.where(side[..., None] > 0, shown, image)
    image[np.abs(side) <= 1] = 1
    return np.round(255 * image).astype(np.uint8)


if __name__ == "__main__":
    canvas = np.full((SIDE, len(TILES_OF) * (SIDE + GAP) - GAP, 3), 255, np.uint8)
    for i, organ in enumerate(TILES_OF):
        left = i * (SIDE + GAP)
        canvas[:, left : left + SIDE] = split_view(fullest(organ))
    target = Path(__file__).with_name("hero.png")
    picture = Image.fromarray(canvas).quantize(256, kmeans=3, dither=Image.Dither.NONE)
    picture.save(target, optimize=True)
    print(f"{target.name}: {picture.width} × {picture.height} px, {target.stat().st_size // 1000} kB")
