"""The architecture of a simulated image: where epithelium, lumina, vessels, fat, glass and nuclei lie."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from nucbook.data.tissue.noise import field, octaves, smoothstep
from nucbook.data.tissue.shapes import Placed, lattice, outlines
from nucbook.data.tissue.slide import EPITHELIAL, LYMPHOCYTE, MPP, STROMAL, Organ, Slide


@dataclass
class Layout:
    """Where what lies; all arrays float32 (H, W)."""

    depth: np.ndarray  # px from the basal membrane into the epithelium, 0 outside
    empty: np.ndarray  # 1 where only glass is (lumen, fat, beside the section), 0 in tissue
    vessel: np.ndarray  # px from the nearest vessel lumen; negative inside
    along: np.ndarray  # px along the fibres
    across: np.ndarray  # px across them
    thick: np.ndarray  # density of the section, 1 = as elsewhere; more at curled edges and folds
    bleeding: np.ndarray  # 0..1, red cells in place of tissue
    deposit: np.ndarray  # 0 and up, ink or pigment
    plenty: float  # nuclei of stroma and infiltrates, 1 = as many as the organ has


def arrange(organ: Organ, slide: Slide, rng: np.random.Generator, shape: tuple[int, int]) -> Layout:
    """Draw the architecture of one image: nests of epithelium, their lumina, vessels, fat, fibres.

    A fifth of the images have no epithelium and few nuclei: muscle, collagen, fat, blood.
    """
    height, width = shape
    bare = rng.random() < 0.2
    nest = field(rng, shape, slide.gland) + 0.25 * field(rng, shape, slide.gland / 3)
    glandular = slide.wall < np.inf
    more = 0.05 if slide.palisade < np.inf else -0.08
    fraction = np.clip(organ.epithelium + rng.normal(more, 0.3), 0, 0.85 if glandular else 1) * (not bare)
    epithelium = nest > (np.quantile(nest[::4, ::4], 1 - fraction) if fraction < 1 else -np.inf)
    if epithelium.all():  # no pixel to measure the distance from
        depth: np.ndarray = np.full(shape, 1e3, np.float32)
    else:
        depth = cv2.distanceTransform(epithelium.astype(np.uint8), cv2.DIST_L2, 5)
    wobble = field(rng, shape, 12)
    empty = np.zeros(shape, np.float32)
    if glandular:
        empty = smoothstep(depth - slide.wall * (1 + 0.15 * wobble), -1, 1.5)

    vessel = np.full(shape, 1e3, np.float32)
    for _ in range(rng.poisson(height * width / 256**2 * 0.8)):
        centre = rng.uniform(0, height), rng.uniform(0, width)
        _ellipse(vessel, rng, centre, rng.uniform(6, 30), rng.uniform(0.3, 1), wobble)
    depth[vessel < 8] = 0
    empty = np.maximum(empty * (vessel > 8), smoothstep(-vessel, -1, 1))

    rows, columns = np.ogrid[:height, :width]
    angle = rng.uniform(0, np.pi)
    along = (columns * np.cos(angle) + rows * np.sin(angle)).astype(np.float32)
    across = (rows * np.cos(angle) - columns * np.sin(angle)).astype(np.float32)
    across += np.float32(slide.waviness) * (field(rng, shape, 60) + 0.2 * field(rng, shape, 18))

    if rng.random() < organ.fat * (3 if bare else 1):
        inside = 40 * (field(rng, shape, 80) + rng.uniform(0, 2.5))  # px into the fat, about
        hole = np.minimum(_fat_cells(rng, shape), inside)
        depth[inside > 0] = 0
        across = np.where(inside > 0, hole, across)  # membranes run round the cells
        empty = np.maximum(empty, smoothstep(hole, -1, 1))

    thick = np.ones(shape, np.float32)
    if rng.random() < 0.2:  # the end of the section: ragged, crumbs beside it
        ragged = rng.uniform(0.03, 0.6) * octaves(rng, shape, (4, 8, 16, 32))
        beyond = 60 * (field(rng, shape, 120) + ragged + rng.normal(-0.4, 0.7))  # px, about
        empty = np.maximum(empty, smoothstep(beyond, -1, 1))
        thick += np.float32(rng.uniform(0, 1.2)) * np.exp(-np.abs(beyond) / rng.uniform(4, 15))
    if rng.random() < 0.1:  # folds
        thick += np.float32(rng.uniform(0.3, 1)) * _ribbon(rng, shape)
    bleeding = np.zeros(shape, np.float32)
    if rng.random() < 0.15:
        bleeding = smoothstep(field(rng, shape, 50), rng.uniform(-2.5, 1.5), 2)
    return Layout(
        depth,
        empty,
        vessel,
        along,
        across,
        thick,
        bleeding,
        _deposit(rng, shape, empty),
        plenty=rng.uniform(0, 0.5) if bare else 1.0,
    )


def _fat_cells(rng: np.random.Generator, shape: tuple[int, int], step: int = 4) -> np.ndarray:
    """Px from the membranes between fat cells into them; a foam: cells round a lattice of points."""
    pitch = rng.uniform(70, 240)
    outer = int(shape[0] + 3 * pitch), int(shape[1] + 3 * pitch)
    centres = lattice(rng, outer, pitch) - 1.5 * pitch  # those outside shape those at the border
    coarse = np.mgrid[0 : shape[0] + step : step, 0 : shape[1] + step : step].reshape(2, -1).T
    distance, nearest = cKDTree(centres).query(coarse, k=3)
    apart = np.linalg.norm(centres[nearest[:, 1:]] - centres[nearest[:, :1]], axis=-1)
    sides = (distance[:, 1:] ** 2 - distance[:, :1] ** 2) / (2 * apart)  # px from the two nearest planes
    corner = rng.uniform(3, 15)
    inward = -corner * np.log(np.exp(-sides / corner).sum(1))  # a rounded minimum
    rows, columns = (side // step + 1 for side in (shape[0] + step - 1, shape[1] + step - 1))
    inward = cv2.resize(inward.reshape(rows, columns).astype(np.float32), None, fx=step, fy=step)
    wall = rng.uniform(0.5, 3) * np.exp(0.5 * field(rng, shape, 25))
    return inward[: shape[0], : shape[1]] + 1.5 * field(rng, shape, 20) - wall


def _ribbon(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """0 to 1: a winding band a few to thirty px wide."""
    return 1 - smoothstep(60 * np.abs(field(rng, shape, 100) + rng.normal(0, 0.4)), 2, rng.uniform(4, 20))


def _deposit(rng: np.random.Generator, shape: tuple[int, int], empty: np.ndarray) -> np.ndarray:
    """Ink of the surgeon or pigment: along the glass, in bands or in masses; most images have none."""
    if rng.random() > 0.1:
        return np.zeros(shape, np.float32)
    where = [
        smoothstep(field(rng, shape, 60), rng.uniform(-0.5, 1.2), 1.5),
        _ribbon(rng, shape),
        4 * cv2.GaussianBlur(empty, (0, 0), 6) * (1 - cv2.GaussianBlur(empty, (0, 0), 6)),
    ][rng.integers(3)]
    lumps = octaves(rng, shape, (2, 4, 8, 16))
    return where * smoothstep(lumps, rng.uniform(-2, 0.5), 1.5) * rng.uniform(0.5, 2.5)


def _ellipse(distance: np.ndarray, rng, centre, radius: float, ratio: float, wobble: np.ndarray) -> None:
    """Lower `distance` (H, W) in place to the px from an ellipse with an uneven boundary; negative inside."""
    reach = int(2 * radius + 12)
    r0, c0 = np.maximum(np.array(centre, int) - reach, 0)
    window = np.s_[r0 : int(centre[0]) + reach, c0 : int(centre[1]) + reach]
    height, width = distance[window].shape
    angle = rng.uniform(0, np.pi)
    y, x = np.ogrid[:height, :width]
    y, x = y + r0 - centre[0], x + c0 - centre[1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    there = np.hypot(u, v / ratio) - radius + 0.1 * radius * wobble[window]
    np.minimum(distance[window], there.astype(np.float32) * ratio, out=distance[window])


def place(organ: Organ, slide: Slide, rng: np.random.Generator, layout: Layout) -> Placed:
    """Candidates for every population, in the order of painting; `paint` drops those without room."""
    shape = layout.depth.shape
    stroma = (layout.depth == 0) & (layout.empty < 0.5) & (layout.vessel > 3)
    per_pixel = (MPP / 1000) ** 2  # mm²
    clusters = layout.plenty * _clusters(rng, shape, slide.gland)
    room = (layout.deposit < 0.4) & (layout.bleeding < 0.5)
    parts = []
    for kind, population in enumerate(slide.populations):
        radius = population.radius
        if population.class_id == EPITHELIAL:
            columnar = slide.palisade < np.inf
            centre = lattice(rng, shape, (0.4 if columnar else 0.9) * radius)
            rows, columns = centre.astype(int).T
            depth = layout.depth[rows, columns]
            keep = (depth > 0.6 * radius) & (layout.empty[rows, columns] < 0.02)
            if columnar:
                keep &= (depth > radius) & (depth < slide.palisade)
                angle = _gradient_angle(cv2.GaussianBlur(layout.depth, (0, 0), 3), rows, columns)
                scatter = rng.uniform(0.05, 0.2)
            else:
                crowds = field(rng, shape, 4 * radius)[rows, columns]  # and clearings between them
                keep &= crowds < rng.uniform(-0.8, 2)
                angle, scatter = _swirl(rng, shape, slide.gland / 2, rows, columns), 0.6
        elif population.class_id == LYMPHOCYTE:
            centre = lattice(rng, shape, 1.5 * radius)
            rows, columns = centre.astype(int).T
            cell = (1.5 * radius) ** 2 * per_pixel
            inside = np.where(layout.depth[rows, columns] > 0, 0.15, 1)
            chance = layout.plenty * organ.lymphocytes * cell * inside
            chance = np.maximum(chance, clusters[rows, columns] * (layout.depth[rows, columns] < 4))
            keep = (rng.random(len(centre)) < chance) & (layout.empty[rows, columns] < 0.5)
            angle, scatter = np.zeros(len(centre)), 3.0
        elif population.class_id == STROMAL:
            density = layout.plenty * 1.15 * organ.stromal * np.exp(rng.normal(0, 0.6)) + 1
            centre = lattice(rng, shape, min(1 / np.sqrt(density * per_pixel), max(shape)))
            rows, columns = centre.astype(int).T
            keep = stroma[rows, columns]
            angle = _gradient_angle(layout.across, rows, columns) + np.pi / 2
            scatter = rng.uniform(0.04, 0.25)
        else:  # ENDOTHELIAL
            centre = lattice(rng, shape, radius)
            rows, columns = centre.astype(int).T
            wall = layout.vessel[rows, columns]
            keep = (wall > 0.3 * radius) & (wall < 1.2 * radius) & (rng.random(len(centre)) < 0.4)
            angle, scatter = _gradient_angle(layout.vessel, rows, columns) + np.pi / 2, 0.15
        keep &= room[rows, columns] | (rng.random(len(centre)) < 0.05)
        angle = (angle + rng.normal(0, scatter, len(centre)))[keep]
        parts.append(outlines(rng, population, kind, centre[keep], angle.astype(np.float32), shape))
    return Placed.concatenate(parts)


def _clusters(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Probability of a lymphocyte at each pixel from dense infiltrates; in some images there are none."""
    level = rng.uniform(0, 3)
    return smoothstep(field(rng, shape, scale / 2), level, level + 0.8) * np.float32(rng.uniform(0.2, 1))


def _gradient_angle(height: np.ndarray, rows: np.ndarray, columns: np.ndarray, step: int = 3) -> np.ndarray:
    """Direction in which `height` rises at each point, radians from the column axis."""
    last = np.array(height.shape) - 1
    down = height[np.minimum(rows + step, last[0]), columns] - height[np.maximum(rows - step, 0), columns]
    right = height[rows, np.minimum(columns + step, last[1])] - height[rows, np.maximum(columns - step, 0)]
    return np.arctan2(down, right)


def _swirl(rng, shape: tuple[int, int], scale: float, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Directions that turn slowly over the image, as nuclei of solid nests do."""
    return np.arctan2(field(rng, shape, scale)[rows, columns], field(rng, shape, scale)[rows, columns])
