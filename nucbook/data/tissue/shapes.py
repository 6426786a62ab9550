"""Nuclei as outlines: where they lie, how they are shaped, which pixel belongs to which.

A `Population` describes the nuclei of one kind in one slide; `outlines` gives each its own shape;
`paint` puts them on a label map, the later ones on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

VERTICES = 32


@dataclass(frozen=True)
class Population:
    """Nuclei of one class in one slide. Values are medians; each nucleus scatters round them."""

    class_id: int
    radius: float  # px, of the disc of equal area
    spread: float  # deviation of log radius
    ratio: float  # short axis / long axis
    irregularity: float  # deviation of the outline / radius
    bend: float  # deviation of the sagitta / long half-axis; spindles curve
    density: float  # haematoxylin, of the slide's typical nucleus
    rim: float  # extra density at the membrane / density
    cleared: float  # fraction of the inside without chromatin; vesicular nuclei 0.5 to 1
    chromatin: float  # deviation of log density, clumps and grains
    nucleolus: float  # probability of at least one
    clearance: float  # free distance asked for / own radius; below 1 nuclei overlap


@dataclass
class Placed:
    """N nuclei of one image as columns, in the order in which they are painted."""

    centre: np.ndarray  # float32 (N, 2), row and column, px
    radius: np.ndarray  # float32 (N,), px
    outline: np.ndarray  # float32 (N, VERTICES, 2), row and column, px
    probe: np.ndarray  # int32 (N, P, 2), pixels that must be free
    kind: np.ndarray  # int32 (N,), row of the list of populations

    def __len__(self) -> int:
        return len(self.radius)

    def __getitem__(self, rows) -> Placed:
        return Placed(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def concatenate(parts: list[Placed]) -> Placed:
        """All rows of `parts`, in their order."""
        names = Placed.__dataclass_fields__
        return Placed(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def lattice(rng: np.random.Generator, shape: tuple[int, int], pitch: float) -> np.ndarray:
    """float32 (N, 2): one random position in each cell of a grid of `pitch` px, in random order."""
    rows, columns = (int(np.ceil(side / pitch)) for side in shape)
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 2)
    points = ((grid + rng.random(grid.shape)) * pitch).astype(np.float32)
    points = points[(points < np.array(shape) - 0.5).all(1)]
    return points[rng.permutation(len(points))]


def outlines(
    rng: np.random.Generator,
    population: Population,
    kind: int,
    centre: np.ndarray,
    angle: np.ndarray,
    shape: tuple[int, int],
) -> Placed:
    """Give each nucleus a shape.

    centre : float32 (N, 2), row and column, px.
    angle  : float32 (N,), direction of the long axis, radians from the column axis towards the row axis.
    shape  : of the image, px.
    """
    count = len(centre)
    normal = lambda deviation: rng.normal(0, deviation, (count, 1)).astype(np.float32)
    cut = np.sqrt(1 - 0.8 * rng.random((count, 1), dtype=np.float32) ** 2)  # the knife misses centres
    radius = 1.2 * cut * population.radius * np.exp(np.clip(normal(population.spread), -0.9, 0.9))
    ratio = np.clip(population.ratio * np.exp(normal(0.25)), 0.09, 1)
    theta = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False, dtype=np.float32)
    wave = np.ones((count, VERTICES), np.float32)
    for k in range(2, 6):  # low harmonics: dents and corners, not hair
        phase = rng.uniform(0, 2 * np.pi, (count, 1)).astype(np.float32)
        wave += normal(population.irregularity / (k - 1)) * np.cos(k * theta + phase)
    long = wave * np.cos(theta) / np.sqrt(ratio)
    short = wave * np.sin(theta) * np.sqrt(ratio)
    short += normal(population.bend) * (long * long * ratio - 0.5) / np.sqrt(ratio)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    unit = np.stack([long * sin + short * cos, long * cos - short * sin], -1)  # row, column
    outline = centre[:, None] + radius[..., None] * unit
    probe = centre[:, None] + radius[..., None] * unit[:, ::2] * population.clearance
    probe = np.concatenate([probe, centre[:, None], (probe[:, ::4] + centre[:, None]) / 2], 1)
    probe = np.clip(np.round(probe), 0, np.array(shape) - 1).astype(np.int32)
    return Placed(centre, radius[:, 0], outline, probe, np.full(count, kind, np.int32))


def paint(nuclei: Placed, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, Placed]:
    """Label map int32 (H, W) of the nuclei that found room, what lies under them, and those nuclei.

    Nucleus i of the result has label i + 1. Where one overlaps an earlier one, the label is the
    later one's and the second map holds the earlier one's.
    """
    labels, under = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    polygons = np.round(nuclei.outline[..., ::-1] * 16).astype(np.int32)  # 4 fractional bits
    low = np.maximum(np.floor(nuclei.outline.min(1)).astype(int), 0)
    high = np.ceil(nuclei.outline.max(1)).astype(int) + 1
    rows, columns = np.ascontiguousarray(nuclei.probe.transpose(2, 0, 1))
    kept: list[int] = []
    for i, ((r0, c0), (r1, c1)) in enumerate(zip(low.tolist(), high.tolist())):
        if r1 <= 0 or c1 <= 0 or labels[rows[i], columns[i]].any():
            continue
        window = labels[r0:r1, c0:c1]
        before = window.copy() if window.any() else None
        cv2.fillPoly(labels, [polygons[i]], len(kept) + 1, shift=4)
        kept.append(i)
        if before is not None:
            covered = (before != 0) & (window == len(kept))
            under[r0:r1, c0:c1][covered] = before[covered]
    return labels, under, nuclei[kept]


def keep_whole(labels: np.ndarray, under: np.ndarray, nuclei: Placed, smallest: int = 16) -> np.ndarray:
    """The label map without what overlap has torn: of each covered nucleus the largest component stays.

    Nuclei with fewer than `smallest` pixels left are removed.
    """
    labels = labels.copy()
    for i in np.unique(under[under > 0]).tolist():
        outline = nuclei.outline[i - 1]
        r0, c0 = np.maximum(np.floor(outline.min(0)).astype(int), 0)
        r1, c1 = np.ceil(outline.max(0)).astype(int) + 1
        window = labels[r0:r1, c0:c1]
        mask = window == i
        count, components, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
        if count > 2:
            largest = 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])
            window[mask & (components != largest)] = 0
    small = np.bincount(labels.ravel()) < smallest
    small[0] = False
    labels[small[labels]] = 0
    return labels
