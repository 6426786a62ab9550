"""How much of each dye lies where: cytoplasm and stroma, then chromatin."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nucbook.data.tissue.architecture import Layout
from nucbook.data.tissue.noise import fibres, field, octaves, smoothstep
from nucbook.data.tissue.shapes import Placed
from nucbook.data.tissue.slide import Slide


@dataclass(frozen=True)
class Territory:
    """Which nucleus each pixel belongs or lies nearest to; arrays (H, W)."""

    labels: np.ndarray  # int32, 0 = outside every nucleus
    cell: np.ndarray  # int32, label of the nearest nucleus; 0 everywhere if there is none
    depth: np.ndarray  # float32, px to the boundary of that nucleus: > 0 inside, < 0 outside

    @staticmethod
    def of(labels: np.ndarray) -> Territory:
        """The territories of the nuclei of a label map (H, W)."""
        """Those of a label map, int (H, W). Where two nuclei touch, the boundary runs between them."""
        inside = labels > 0
        apart = inside.astype(np.uint8)
        for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
            apart[here][inside[here] & inside[there] & (labels[here] != labels[there])] = 0
        within = cv2.distanceTransform(apart, cv2.DIST_L2, 5)
        if not inside.any():
            return Territory(labels, labels, np.full(labels.shape, -1e3, np.float32))
        outside, nearest = cv2.distanceTransformWithLabels(
            (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        owner = np.zeros(nearest.max() + 1, np.int32)
        owner[nearest[inside]] = labels[inside]
        depth = np.where(inside, within - 0.5, 0.5 - outside)
        return Territory(labels, owner[nearest], depth)


def surroundings(slide: Slide, rng: np.random.Generator, layout: Layout, near: Territory) -> list[np.ndarray]:
    """The dyes of everything but nuclei, in the order of `stain.DYES`: float32 (H, W), optical density."""
    shape, cell = near.cell.shape, near.cell
    epithelium = smoothstep(layout.depth, 0, 2.5)
    grains = np.exp(slide.grain * octaves(rng, shape, (1.5, 3, 6, 12, 24)))

    count = cell.max() + 1
    own = np.exp(rng.normal(0, 0.15, count)).astype(np.float32)  # cells differ in thickness
    own *= np.where(rng.random(count) < 0.75, 1 - slide.clear, 1)
    cytoplasm = own[cell] * grains
    cytoplasm *= 1 - slide.foam * smoothstep(field(rng, shape, rng.uniform(2, 7)), 0.2, 1.2)
    borders: np.ndarray = np.zeros(shape, np.float32)
    borders[:, 1:] = cell[:, 1:] != cell[:, :-1]
    borders[1:] += cell[1:] != cell[:-1]
    borders = cv2.GaussianBlur(borders, (0, 0), 0.9)
    cytoplasm += slide.membrane * borders * (cytoplasm if slide.membrane < 0 else 1)

    strands = fibres(rng, layout.along, layout.across, slide.fibre_width, 14 * slide.fibre_width)
    threads = fibres(rng, layout.along, layout.across, slide.fibre_width / 2.5, 6 * slide.fibre_width)
    stroma = grains * np.exp(slide.fibrous * (0.8 * strands + 0.6 * threads))
    torn = smoothstep(strands + 0.5 * field(rng, shape, 25), 2.2 - 6 * slide.cracks, 2.6 - 6 * slide.cracks)
    stroma *= 1 - 0.9 * torn * (slide.cracks > 0)

    tissue = (1 - layout.empty) * np.exp(0.12 * field(rng, shape, 120)) * layout.thick  # never even
    tissue *= 1 - layout.bleeding * np.float32(rng.uniform(0.5, 1))
    tissue *= 1 - slide.halo * np.exp(np.minimum(near.depth, 0) / 2)
    cytoplasm *= slide.cytoplasm * epithelium * tissue
    stroma *= slide.fibre * (1 - epithelium) * tissue
    clouds = np.exp(slide.mottled * field(rng, shape, rng.uniform(5, 15)))
    haematoxylin = clouds * (slide.blue_cytoplasm * cytoplasm + slide.blue_fibre * stroma)
    eosin = (1 - slide.blue_cytoplasm) * cytoplasm + (1 - slide.blue_fibre) * stroma
    orange = np.zeros(shape, np.float32)
    if slide.rust:
        orange = slide.rust * (1 - slide.blue_fibre) * stroma * smoothstep(field(rng, shape, 60), -0.8, 0.4)
    return [np.maximum(dye, 0) for dye in (haematoxylin, eosin - orange, orange, layout.deposit)]


def chromatin(
    slide: Slide,
    rng: np.random.Generator,
    near: Territory,
    under: np.ndarray,
    nuclei: Placed,
    dyes: list[np.ndarray],
) -> None:
    """Add the nuclei to the dyes, in place: membrane, grains and clumps, nucleoli, focus."""
    haematoxylin, eosin, blood, _ = dyes
    shape, count = under.shape, len(nuclei)
    column = lambda name: np.array([getattr(slide.populations[k], name) for k in nuclei.kind], np.float32)
    scatter = lambda deviation: np.exp(rng.normal(0, deviation, count)).astype(np.float32)
    density = column("density") * scatter(0.18)
    rim = column("rim") * scatter(0.4)
    # Most nuclei of a vesicular slide are clear inside; those that shrink are as dense as any other.
    cleared = np.clip(column("cleared") + rng.normal(0, 0.15, count), 0, 1) * (rng.random(count) < 0.85)
    cleared = np.where(column("cleared") > 0, cleared, 0).astype(np.float32)
    texture = column("chromatin") * scatter(0.2)
    width = np.clip(0.11 * nuclei.radius, 0.8, 1.8)
    blurred = np.concatenate([[False], rng.random(count) < slide.unfocused])

    edge = 0.5 * slide.edge
    where = np.flatnonzero((near.depth > -slide.swell - edge) & (near.cell > 0))
    own = near.cell.ravel()[where] - 1
    depth = near.depth.ravel()[where] + slide.swell
    noise = 0.6 * octaves(rng, shape, (slide.fine, 2 * slide.fine)) + 0.6 * field(rng, shape, slide.coarse)
    clear, noise_there = cleared[own], noise.ravel()[where]
    amount = (1 - clear) * np.exp(texture[own] * noise_there)
    amount += clear * (0.1 + 0.8 * smoothstep(noise_there, 0.1, 2.0))  # what chromatin is left is clumps
    membrane = (rim + 0.4 * cleared)[own] * np.exp(-np.abs(depth - edge) / width[own])
    amount += membrane * np.exp(0.4 * noise_there)
    amount *= density[own] * smoothstep(depth, -edge, edge)
    nuclear = np.zeros(shape, np.float32)
    nuclear.ravel()[where] = amount
    nuclear += 0.6 * np.concatenate([[0], density])[under].astype(np.float32) * np.exp(0.2 * noise)
    nucleoli = _nucleoli(rng, slide, nuclei, column("nucleolus"), shape) * (near.labels > 0)
    nuclear += nucleoli

    if blurred.any():
        layer = nuclear * blurred[near.cell]
        nuclear += cv2.GaussianBlur(layer, (0, 0), slide.defocus) - layer
    showing = slide.showing * (1 - slide.hiding * np.concatenate([[0], cleared]).astype(np.float32))
    through = 1 - (1 - showing[near.cell]) * smoothstep(near.depth + slide.swell, -edge, edge)
    for dye in (haematoxylin, eosin, blood):
        dye *= through
    eosin += slide.pink * slide.nucleus * nucleoli
    haematoxylin += max(slide.nucleus - slide.showing * slide.cytoplasm, 0.35 * slide.nucleus) * nuclear


def _nucleoli(rng, slide: Slide, nuclei: Placed, chance: np.ndarray, shape) -> np.ndarray:
    spots = np.zeros(shape, np.float32)
    number = np.where(rng.random(len(nuclei)) < chance, rng.integers(1, 4, len(nuclei)), 0)
    owner = np.repeat(np.arange(len(nuclei)), number)
    radius = nuclei.radius[owner]
    place = nuclei.centre[owner] + radius[:, None] * rng.uniform(-0.4, 0.4, (len(owner), 2))
    size = np.maximum(slide.nucleoli * radius * rng.uniform(0.6, 1.2, len(owner)), 0.8)
    fixed = (16 * np.column_stack([place, size])).astype(int)  # 4 fractional bits
    for (row, column, reach), dark in zip(fixed.tolist(), rng.uniform(0.6, 1.3, len(owner)).tolist()):
        cv2.circle(spots, (column, row), reach, dark, -1, shift=4)
    return cv2.GaussianBlur(spots, (0, 0), 0.7)
