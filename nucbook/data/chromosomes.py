"""Simulated G-banded metaphase spreads: 46 chromosomes of 24 classes, bent and crossing.

Lengths and centromeres are those of the human genome assembly GRCh38. The band patterns are
invented, one for each class and always the same, as dense as real ones at the 400-band stage:
a class can be recognised by length, centromere and bands, as in a karyotype.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nucbook.data.tissue.noise import field, smoothstep
from nucbook.nuclei import Nuclei
from nucbook.sample import Sample

CLASS_NAMES = {i: name for i, name in enumerate([*map(str, range(1, 23)), "X", "Y"], start=1)}

LENGTH = np.array(  # 10⁶ base pairs, chromosomes 1 to 22, X, Y
    [
        *(249, 242, 198, 190, 182, 171, 159, 145, 138, 134, 135, 133),
        *(114, 107, 102, 90, 83, 80, 59, 64, 47, 51, 156, 57),
    ],
    float,
)
CENTROMERE = np.array(  # 10⁶ base pairs from the tip of the short arm
    [123, 94, 91, 50, 49, 60, 60, 45, 43, 40, 53, 36, 18, 17, 19, 37, 25, 18, 26, 28, 12, 15, 61, 10], float
)
LONGEST = 0.18  # of the image's short side, chromosome 1 of an average spread
STATIONS = 64  # points along an axis
PARTS = {"train": range(12), "validation": range(100, 104), "test": range(200, 208)}


def simulate(size: int | tuple[int, int] = 512, seed: int = 0) -> Sample:
    """One metaphase spread; `nuclei` holds the 46 chromosomes, whose masks overlap where they cross.

    size : side, or (height, width), px; the chromosomes scale with the shorter side.
    seed : the spread; the same seed gives the same image. Half of them are XX, half XY.

    Raises ValueError for a size below 128 px, where bands could not be seen.
    """
    shape = (size, size) if isinstance(size, (int, np.integer)) else (int(size[0]), int(size[1]))
    if min(shape) < 128:
        raise ValueError(f"size {size}: bands could not be seen; give at least 128 px a side.")
    rng = np.random.default_rng([46, seed])
    unit = LONGEST * min(shape) / LENGTH[0] * rng.uniform(0.85, 1.15)  # px per 10⁶ base pairs
    width = 0.025 * min(shape) * rng.uniform(0.85, 1.15)  # px
    classes = np.array([*np.repeat(np.arange(1, 23), 2), 23, rng.choice([23, 24])])
    classes = classes[rng.permutation(46)]

    stain = rng.uniform(0.5, 1.2)  # optical density of a dark band
    density = np.zeros(shape, np.float32)
    boxes, masks = [], []
    for class_id, centre in zip(classes.tolist(), _scatter(rng, shape, len(classes))):
        chromosome = Chromosome.draw(rng, class_id, LENGTH[class_id - 1] * unit, width, centre, shape)
        (row, column), mask, dye = chromosome.render(rng)
        box = (row, column, row + mask.shape[0], column + mask.shape[1])
        density[box[0] : box[2], box[1] : box[3]] += stain * dye  # where two cross, both absorb
        boxes.append(box)
        masks.append(mask)

    name = f"spread-{seed}"
    return Sample(
        _photograph(rng, density, stain),
        nuclei=Nuclei(shape, np.array(boxes, np.int32), masks, classes=classes).tight(),
        class_names=CLASS_NAMES,
        name=name,
        meta={"dataset": "metaphase", "organ": "blood", "patient": f"patient-{seed}", "image": name},
    )


def load(part: str) -> list[Sample]:
    """The fixed set of profile "quick": 12 training, 4 validation and 8 test spreads of 512².

    Raises ValueError for an unknown part.
    """
    if part not in PARTS:
        raise ValueError(f"metaphase has no part {part!r}; there are {', '.join(PARTS)}.")
    return [simulate(seed=seed) for seed in PARTS[part]]


def bands(class_id: int) -> np.ndarray:
    """float32 (STATIONS,): darkness in [0, 1] along a chromosome of a class, short arm first.

    About one band in 7·10⁶ base pairs; a pale gap at the centromere.
    """
    rng = np.random.default_rng([24, class_id])
    count = max(4, round(LENGTH[class_id - 1] / 7))
    edges = np.sort(rng.random(count - 1))
    shade = rng.choice([0.15, 0.5, 0.75, 1.0], count, p=[0.1, 0.3, 0.3, 0.3])
    shade[rng.integers(2) :: 2] = rng.uniform(0.1, 0.25)  # dark and pale bands take turns
    along = np.linspace(0, 1, STATIONS)
    pattern = shade[np.searchsorted(edges, along)]
    pattern[np.abs(along - _centromere(class_id)) < 0.02] = 0.2
    return pattern.astype(np.float32)


def _centromere(class_id: int) -> float:
    return CENTROMERE[class_id - 1] / LENGTH[class_id - 1]


def _scatter(rng: np.random.Generator, shape: tuple[int, int], count: int) -> np.ndarray:
    """float (count, 2): centres in an ellipse; spread evenly enough that a third or so touch or cross."""
    turn = np.pi * (3 - np.sqrt(5))  # a sunflower's seeds fill a disc
    seeds = np.arange(count) + 0.5
    radius = np.sqrt(seeds / count)[:, None]
    angle = turn * seeds + rng.uniform(0, 2 * np.pi)
    disc = radius * np.stack([np.sin(angle), np.cos(angle)], 1) + rng.normal(0, 0.1, (count, 2))
    return (0.5 + 0.38 * np.clip(disc, -1, 1)) * np.array(shape)


@dataclass(frozen=True)
class Chromosome:
    """One bent ribbon."""

    class_id: int
    axis: np.ndarray  # float (STATIONS, 2), row and column, px
    half: np.ndarray  # float (STATIONS,), half width, px
    shape: tuple[int, int]  # of the image, px

    @staticmethod
    def draw(
        rng, class_id: int, length: float, width: float, centre: np.ndarray, shape: tuple[int, int]
    ) -> Chromosome:
        """A random axis of `length` px; its heading turns steadily (a bend) and sways (two waves)."""
        along = np.linspace(0, 1, STATIONS)
        supple = min(1.0, length / (5 * width))  # short ones stay straight
        heading = rng.uniform(0, 2 * np.pi) + supple * rng.normal(0, 1.0) * (along - 0.5)
        for k in (1, 2):
            heading += supple * rng.normal(0, 0.35 / k) * np.sin(np.pi * k * along + rng.uniform(0, 6))
        length = max(length * rng.uniform(0.92, 1.08), 1.3 * width)
        steps = np.stack([np.sin(heading), np.cos(heading)], 1) * length / (STATIONS - 1)
        axis = np.cumsum(steps, 0)
        axis += centre - axis.mean(0)
        low, high = axis.min(0) - width, axis.max(0) + width - np.array(shape)
        axis -= np.minimum(low, 0) + np.maximum(high, 0)  # inside the image as a whole

        to_tip = np.minimum(along, 1 - along) * length
        half = width / 2 * np.sqrt(1 - np.clip(1 - to_tip / (width / 2), 0, 1) ** 2)
        waist = np.exp(-(((along - _centromere(class_id)) * length / (0.35 * width)) ** 2))
        half = np.maximum(half * (1 - 0.4 * waist), 0.6)
        return Chromosome(class_id, axis, half, shape)

    def render(self, rng: np.random.Generator) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
        """Corner (row, column) of its box, bool mask, float32 dye in units of a dark band."""
        heading = np.gradient(self.axis, axis=0)
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        side = self.half[:, None] * np.stack([-heading[:, 1], heading[:, 0]], 1)
        left, right = self.axis + side, self.axis - side
        ribbon = np.concatenate([left, right[::-1]])
        corner = np.maximum(np.floor(ribbon.min(0)).astype(int) - 1, 0)
        stop = np.minimum(np.ceil(ribbon.max(0)).astype(int) + 2, self.shape)
        fixed = lambda points: np.round((points - corner)[:, ::-1] * 16).astype(np.int32)

        mask = np.zeros(stop - corner, np.uint8)
        dye = np.zeros(stop - corner, np.float32)
        shade = bands(self.class_id) * rng.normal(1, 0.08, STATIONS)
        cells = [np.stack([left[i], left[i + 1], right[i + 1], right[i]]) for i in range(STATIONS - 1)]
        for cell, value in zip(cells, shade.tolist()):
            cv2.fillConvexPoly(dye, fixed(cell), 0.25 + 0.75 * value, shift=4)
            cv2.fillConvexPoly(mask, fixed(cell), 1, shift=4)
        gap = np.zeros_like(dye)  # between the two chromatids
        cv2.polylines(gap, [fixed(self.axis)], False, 1.0, 1, cv2.LINE_8, 4)
        dye = cv2.GaussianBlur(dye, (0, 0), 0.8) - rng.uniform(0, 0.2) * cv2.GaussianBlur(gap, (0, 0), 0.8)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
        dye *= np.sqrt(np.clip(depth / self.half.max(), 0, 1))  # a rod: thick in the middle
        return tuple(corner.tolist()), mask.astype(bool), np.maximum(dye, 0)


def _photograph(rng: np.random.Generator, density: np.ndarray, stain: float) -> np.ndarray:
    """uint8 (H, W, 3): grey bright-field picture with cell debris, interphase nuclei, blur and noise."""
    height, width = shape = density.shape
    side = min(shape)
    others = np.zeros(shape, np.float32)
    for _ in range(rng.poisson(1.0)):  # interphase nuclei at the margin
        edge = rng.choice([-0.03, 1.03])
        row, column = rng.permutation([edge, rng.random()])
        middle = (int(column * width), int(row * height))
        cv2.circle(others, middle, int(side * rng.uniform(0.06, 0.12)), rng.uniform(0.3, 0.7), -1)
    others *= 1 + 0.3 * field(rng, shape, side / 80)
    for _ in range(rng.poisson(12)):  # dirt
        middle = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(others, middle, int(side * rng.uniform(0.001, 0.006)), rng.uniform(0.1, 0.5), -1)
    haze = 0.06 * smoothstep(field(rng, shape, side / 6), -1, 2)
    density = density + stain * cv2.GaussianBlur(others, (0, 0), 1.2) + haze

    light: np.ndarray = rng.uniform(190, 245) * (1 + 0.04 * field(rng, shape, side)) * cv2.exp(-density)
    light = cv2.GaussianBlur(light, (0, 0), side / 512 * rng.uniform(0.7, 1.3))
    light = light + rng.uniform(1, 4) * rng.standard_normal(shape, dtype=np.float32)
    return np.repeat(np.clip(light, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
