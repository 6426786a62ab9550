"""What is no nucleus but may look like one: red cells, vacuoles, secretions, smudges, wisps, fragments."""

from __future__ import annotations

import cv2
import numpy as np

from nucbook.data.tissue.architecture import Layout
from nucbook.data.tissue.noise import fibres, field, octaves, smoothstep
from nucbook.data.tissue.shapes import lattice
from nucbook.data.tissue.slide import Slide


def distract(
    slide: Slide, rng: np.random.Generator, layout: Layout, labels: np.ndarray, dyes: list[np.ndarray]
) -> None:
    """Add it to the dyes, in place.

    labels : int (H, W), the nuclei; nothing sharp is laid over them.
    dyes   : float32 (H, W) each, in the order of `stain.DYES`.
    """
    haematoxylin, eosin, blood, _ = dyes
    shape = labels.shape
    tiles = shape[0] * shape[1] / 256**2
    u = rng.uniform
    background = (slide.cytoplasm + slide.fibre) / 2

    _bubbles(slide, rng, layout, labels, dyes, background, tiles)
    _red_cells(rng, layout, labels, blood, background)

    if rng.random() < 0.5:  # secretion, mucin, foam or debris on the glass
        texture = octaves(rng, shape, (2, 6, 18))
        lumps = smoothstep(field(rng, shape, u(4, 14)) + 0.3 * texture, 0, 0.7) if rng.random() < 0.5 else 1
        filling = u(0.1, 0.9) * background * np.exp(0.5 * texture) * lumps
        filling *= layout.empty * smoothstep(field(rng, shape, 40), u(-1, 1), 1.5)
        blue = u(0, 0.7)
        haematoxylin += blue * filling
        eosin += (1 - blue) * filling

    smudges = _blobs(rng, shape, u(0, 5) * tiles, (4, 14), (0.1, 0.4))  # nuclei of other planes, too
    smudges = cv2.GaussianBlur(smudges, (0, 0), u(2.5, 5)) * (1 - layout.empty)  # vague to outline
    haematoxylin += slide.nucleus * smudges

    if rng.random() < 0.4:  # pink bodies: cells whose nucleus lies elsewhere
        bodies = _blobs(rng, shape, u(0, 12) * tiles, (4, 16), (0.3, 1))
        bodies *= (labels == 0) * (1 - 0.8 * layout.empty)
        eosin += u(0.3, 1.2) * background * cv2.GaussianBlur(bodies, (0, 0), u(0.7, 2))

    if rng.random() < 0.3:  # crushed nuclei: blue wisps along the fibres
        wisps = smoothstep(fibres(rng, layout.along, layout.across, u(2, 4), u(20, 40)), 1, 2.5)
        wisps *= smoothstep(field(rng, shape, 40), 0.5, 1.5) * (1 - layout.empty)
        haematoxylin += u(0.2, 0.6) * slide.nucleus * wisps

    bits = _blobs(rng, shape, u(0, 10) * tiles, (1, 3.5), (0.3, 1.2))  # fragments, pigment, dust
    bits = slide.nucleus * cv2.GaussianBlur(bits, (0, 0), 0.7)
    haematoxylin += bits
    eosin += u(0, 0.6) * bits


def _blobs(rng, shape, expected: float, radius: tuple[float, float], dark: tuple[float, float]) -> np.ndarray:
    """float32 `shape`: about `expected` ellipses of the given half-axes (px) and darkness, on 0."""
    blobs = np.zeros(shape, np.float32)
    for _ in range(rng.poisson(expected)):
        middle = (int(rng.uniform(0, shape[1])), int(rng.uniform(0, shape[0])))
        axes = (int(rng.uniform(*radius)), int(rng.uniform(*radius)))
        cv2.ellipse(blobs, middle, axes, rng.uniform(0, 180), 0, 360, rng.uniform(*dark), -1)
    return blobs


def _bubbles(slide: Slide, rng, layout: Layout, labels, dyes, background: float, tiles: float) -> None:
    """Vacuoles and goblet cells: empty, the size of nuclei, a thin pink border, which cleared nuclei lack."""
    expected = rng.exponential(12) * tiles * (rng.random() < 0.5)
    bubbles = _blobs(rng, labels.shape, expected, (2, rng.uniform(4, 16)), (0.7, 1))
    if slide.goblets:
        radius = 1.3 * slide.populations[0].radius
        for row, column in lattice(rng, labels.shape, 2.2 * radius).tolist():
            depth = layout.depth[int(row), int(column)]
            if slide.palisade < depth < slide.wall and rng.random() < slide.goblets:
                reach = radius * rng.uniform(0.6, 1.1, 2)
                middle, axes = (int(column), int(row)), (int(reach[0]), int(reach[1]))
                cv2.ellipse(bubbles, middle, axes, rng.uniform(0, 180), 0, 360, 0.9, -1)
    bubbles *= labels == 0
    bubbles = cv2.GaussianBlur(bubbles, (0, 0), rng.uniform(0.6, 1.2))
    for dye in dyes[:3]:
        dye *= 1 - np.float32(rng.uniform(0.6, 1)) * bubbles
    rim = 4 * bubbles * (1 - bubbles) * (labels == 0)
    dyes[1] += rng.uniform(0, 0.7) * background * rim * (1 - layout.empty)
    dyes[0] += rng.uniform(0, 0.3) * slide.cytoplasm * bubbles * (labels == 0)  # mucus


def _red_cells(rng, layout: Layout, labels: np.ndarray, blood: np.ndarray, background: float) -> None:
    """Biconcave, or dented where they crowd."""
    shape = labels.shape
    chance = (layout.vessel < -4) * np.float32(rng.choice([0, 0.3, 0.9]))
    chance = np.maximum(chance, 0.95 * layout.bleeding)
    radius = rng.uniform(5, 11)
    dents = rng.uniform(0.03, 0.25)
    centres = lattice(rng, shape, 1.8 * radius)
    rows, columns = centres.astype(int).T
    chosen = (rng.random(len(centres)) < chance[rows, columns] + 0.002) & (labels[rows, columns] == 0)
    centres = centres[chosen, None, ::-1]
    if not len(centres):
        return
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    wave = 1 + rng.normal(0, dents, (len(centres), 2, 1)) * np.cos(
        np.array([[[2.0], [3.0]]]) * turn + rng.uniform(0, 2 * np.pi, (len(centres), 2, 1))
    )
    reach = radius * rng.uniform(0.75, 1.05, (len(centres), 1)) * wave.prod(1)
    circle = np.stack([np.cos(turn), np.sin(turn)], -1)
    outer = np.round(16 * (centres + reach[..., None] * circle)).astype(np.int32)
    inner = np.round(16 * (centres + 0.5 * reach[..., None] * circle)).astype(np.int32)
    amount = rng.uniform(0.7, 1.6, len(centres))
    middle = amount * rng.uniform(0.5, 1.1)
    cells = np.zeros(shape, np.float32)
    for rim, pallor, dark, pale in zip(outer, inner, amount.tolist(), middle.tolist()):
        cv2.fillPoly(cells, [rim], dark, shift=4)
        cv2.fillPoly(cells, [pallor], pale, shift=4)
    blood += background * cv2.GaussianBlur(cells, (0, 0), 0.8) * (labels == 0)
