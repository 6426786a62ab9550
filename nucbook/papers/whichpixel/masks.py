"""Synthetic masks of one labelled patch: its nuclei, turned and set elsewhere (Lou et al. 2022, Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from nucbook.nuclei import Nuclei
from nucbook.papers.whichpixel.config import Masks

DEFAULT = Masks()


class Shape(NamedTuple):
    """A nucleus to set down: bool (2·R + 1, 2·R + 1) round its centre pixel, and its radius R_q, px."""

    mask: np.ndarray
    radius: float  # from the centre pixel to the farthest pixel


def synthetic_masks(labels: np.ndarray, config: Masks = DEFAULT, seed: int = 0) -> list[np.ndarray]:
    """`config.count` label maps, int32 (H, W), with nuclei of a labelled patch in new places.

    labels : integer (H, W), 0 = background.

    Q of each lies within `spread` of what the density of the patch gives for the canvas; a mask is done
    earlier where no nucleus fits any more, and may hold none where the patch holds few. Mask i depends on the
    seed and i alone.
    Raises ValueError for a patch without nuclei, and where none of them fits into the canvas.
    """
    return [
        synthetic_mask(labels, config, np.random.default_rng([seed, number]))
        for number in range(config.count)
    ]


def synthetic_mask(labels: np.ndarray, config: Masks, random: np.random.Generator) -> np.ndarray:
    """One synthetic mask of a labelled patch, int32 (H, W), ids 1 to N; see `synthetic_masks`."""
    labels = np.asarray(labels)
    canvas = (labels.shape[0] + 2 * config.margin, labels.shape[1] + 2 * config.margin)
    make = nuclei_of if config.shapes == "nuclei" else polygons_of
    shapes = [shape for shape in make(labels, config.copies, random) if max(shape.mask.shape) <= min(canvas)]
    if not shapes:
        raise ValueError(
            f"no nucleus of the patch fits into a canvas of {canvas[0]}×{canvas[1]} px; widen `margin`."
        )
    q = density(labels) * canvas[0] * canvas[1] * random.uniform(1 - config.spread, 1 + config.spread)
    made = placed(shapes, canvas, max(round(q), 1), random, config.gap, config.touching)
    return cropped(made, config.margin, config.smallest)


def density(labels: np.ndarray) -> float:
    """Nuclei per px² of a label map: centres, for which those that its edges cut count in part.

    A window of (H, W) meets the nuclei whose centres lie in a window larger by the mean side of a nucleus.
    Raises ValueError where there are none.
    """
    _ids(labels)
    boxes = Nuclei.from_labels(labels).boxes
    height, width = labels.shape + (boxes[:, 2:] - boxes[:, :2]).mean(0)
    return len(boxes) / (height * width)


def touching(labels: np.ndarray) -> float:
    """Fraction of the nuclei of a label map that touch another: one of their pixels lies beside one of its.

    labels : integer (H, W), 0 = background. Diagonal neighbours count; 0 for no nuclei.
    """
    ids = np.unique(labels[labels > 0])
    pairs = _touching_pairs(labels)
    return len(np.unique(pairs)) / len(ids) if len(ids) else 0.0


# -- the set E ----------------------------------------------------------------------------------


def nuclei_of(labels: np.ndarray, copies: int, random: np.random.Generator) -> list[Shape]:
    """The set E: each nucleus of a patch `copies` times, turned by any angle, half of them flipped.

    A nucleus that the edge of the patch cuts is left out, for its cut would show; all are used where each
    is cut. Raises ValueError for a patch without nuclei.
    """
    ids = _ids(labels)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    whole = np.setdiff1d(ids, edge)
    kept = np.where(np.isin(labels, whole if len(whole) else ids), labels, 0)
    found = [_turned(mask, random) for mask in Nuclei.from_labels(kept).masks for _ in range(copies)]
    return [shape for shape in found if shape is not None]


def polygons_of(labels: np.ndarray, copies: int, random: np.random.Generator) -> list[Shape]:
    """As many random polygons as `nuclei_of` finds shapes, of radii like those of the nuclei of a patch.

    What Fig. 4b compares with (Hou et al. 2019), by the radius, irregularity and spikes of a polygon: radii
    follow the mean and the deviation of the patch. Raises ValueError for a patch without nuclei.
    """
    areas = np.bincount(labels[labels > 0].ravel())[_ids(labels)]
    radii = np.sqrt(areas / np.pi)
    drawn = random.normal(radii.mean(), radii.std(), len(radii) * copies).clip(radii.min(), radii.max())
    return [_centred(_filled(polygon(radius, random))) for radius in drawn]


def polygon(
    radius: float,
    random: np.random.Generator,
    irregularity: float = 0.4,
    spikes: float = 0.2,
    vertices: int = 12,
) -> np.ndarray:
    """Corners of a random polygon round the origin, float (vertices, 2), px.

    irregularity : how far the angles between corners scatter, as a fraction of their mean.
    spikes       : standard deviation of the corners' distances from the centre, as a fraction of the radius.
    """
    steps = random.uniform(1 - irregularity, 1 + irregularity, vertices)
    angles = random.uniform(0, 2 * math.pi) + 2 * math.pi * np.cumsum(steps) / steps.sum()
    distances = radius * random.normal(1, spikes, vertices).clip(0.3, 2)
    return distances[:, None] * np.stack([np.sin(angles), np.cos(angles)], 1)


def _ids(labels: np.ndarray) -> np.ndarray:
    ids = np.unique(labels[labels > 0])
    if not len(ids):
        raise ValueError("a patch without nuclei: nothing to make masks from; choose another patch.")
    return ids


def _turned(mask: np.ndarray, random: np.random.Generator) -> Shape | None:
    """A nucleus turned by a random angle and flipped half of the time; None where nothing is left of it."""
    side = 2 * math.ceil(math.hypot(*mask.shape) / 2) + 3
    turn = cv2.getRotationMatrix2D(
        ((mask.shape[1] - 1) / 2, (mask.shape[0] - 1) / 2), random.uniform(0, 360), 1.0
    )
    turn[:, 2] += (side - mask.shape[1]) / 2, (side - mask.shape[0]) / 2
    turned = cv2.warpAffine(mask.astype(np.float32), turn, (side, side)) > 0.5
    if random.random() < 0.5:
        turned = turned[:, ::-1]
    return _centred(turned) if turned.any() else None


def _centred(mask: np.ndarray) -> Shape:
    """A mask cut to the square round its centre pixel that holds it."""
    rows, columns = np.nonzero(mask)
    row, column = round(rows.mean()), round(columns.mean())
    radius = float(np.hypot(rows - row, columns - column).max())
    half = math.ceil(radius)
    square = np.zeros((2 * half + 1, 2 * half + 1), bool)
    square[rows - row + half, columns - column + half] = True
    return Shape(square, radius)


def _filled(corners: np.ndarray) -> np.ndarray:
    half = math.ceil(np.abs(corners).max()) + 1
    drawn = np.zeros((2 * half + 1, 2 * half + 1), np.uint8)
    cv2.fillPoly(drawn, [np.round(corners[:, ::-1] + half).astype(np.int32)], 1)
    return drawn > 0


# -- placement ----------------------------------------------------------------------------------


def placed(
    shapes: Sequence[Shape],
    canvas: tuple[int, int],
    count: int,
    random: np.random.Generator,
    gap: float = 0.0,
    touch: float = 0.0,
) -> np.ndarray:
    """Up to `count` of the shapes in an empty map of `canvas` px, int32, ids in the order of placement.

    A shape's centre goes to a random pixel that is farther than its radius and `gap` from every nucleus
    placed before: what is left when these are dilated by the radius (Fig. 4a). So none overlaps another.
    Only shapes that still fit are drawn; where none fits, the map is done.

    touch : aimed fraction of nuclei that touch another. While there are fewer, the next one is set down
            beside a nucleus that touches none, with at least one pixel against it and none on another.
    """
    radii = np.array([shape.radius for shape in shapes])
    reach = math.ceil(radii.max() + gap) + 1  # px; distances are not needed beyond
    made = np.zeros(canvas, np.int32)
    free = np.full(canvas, reach, np.float32)  # px, to the nearest nucleus
    in_touch: set[int] = set()
    for number in range(1, count + 1):
        beside = None
        if number > 1 and len(in_touch) < touch * (number - 1):
            alone = [one for one in range(1, number) if one not in in_touch]
            shape = shapes[int(random.integers(len(shapes)))]
            beside = _beside(made, shape, int(random.choice(alone)), random) if alone else None
        if beside is None:
            fitting = np.flatnonzero(radii + gap < free.max())
            if not len(fitting):
                break
            shape = shapes[int(random.choice(fitting))]
            places = np.flatnonzero(free > shape.radius + gap)
            centre = divmod(int(random.choice(places)), canvas[1])
        else:
            centre = beside
        window, part = _clipped(canvas, centre, len(shape.mask) // 2)
        made[window][shape.mask[part]] = number
        if touch:
            near, _ = _clipped(canvas, centre, len(shape.mask) // 2 + 1)
            in_touch.update(_touching_pairs(made[near]).ravel().tolist())
        _update(free, made, centre, len(shape.mask) // 2, reach)
    return made


def cropped(labels: np.ndarray, margin: int, smallest: int) -> np.ndarray:
    """A label map without `margin` px on each side, ids 1 to N; nuclei of fewer than `smallest` px go."""
    inside = labels[margin : labels.shape[0] - margin, margin : labels.shape[1] - margin]
    areas = np.bincount(inside.ravel())
    keep = areas >= max(smallest, 1)
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[inside]


def _clipped(shape: tuple[int, int], centre: tuple[int, int], half: int) -> tuple[tuple, tuple]:
    """The square of 2·half + 1 px round a centre as far as it lies in an image, and its part that does."""
    starts = [max(c - half, 0) for c in centre]
    stops = [min(c + half + 1, size) for c, size in zip(centre, shape)]
    window = tuple(slice(a, b) for a, b in zip(starts, stops))
    part = tuple(slice(a - c + half, b - c + half) for a, b, c in zip(starts, stops, centre))
    return window, part


def _update(free: np.ndarray, made: np.ndarray, centre: tuple[int, int], half: int, reach: int):
    """Shorten the distances round a nucleus that was placed just now."""
    window, _ = _clipped(free.shape, centre, half + reach)
    empty = (made[window] == 0).astype(np.uint8)
    distance = cv2.distanceTransform(empty, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    np.minimum(free[window], distance, out=free[window])


def _beside(
    made: np.ndarray, shape: Shape, other: int, random: np.random.Generator
) -> tuple[int, int] | None:
    """A random centre at which a shape touches one nucleus and lies on none; None where there is none."""
    rows, columns = np.nonzero(made == other)
    reach = 2 * (len(shape.mask) // 2) + 1  # of the shape's pixels, where its centre touches the other
    r0, c0 = max(rows.min() - reach, 0), max(columns.min() - reach, 0)
    nearby = made[r0 : rows.max() + reach + 1, c0 : columns.max() + reach + 1]
    kernel = shape.mask.astype(np.uint8)
    meets = lambda pixels: cv2.dilate(pixels.astype(np.uint8), kernel) > 0  # centres whose shape has one
    against = cv2.dilate((nearby == other).astype(np.uint8), np.ones((3, 3), np.uint8))
    places = np.argwhere(meets(against) & ~meets(nearby > 0))
    if not len(places):
        return None
    row, column = places[random.integers(len(places))]
    return int(row + r0), int(column + c0)


def _touching_pairs(labels: np.ndarray) -> np.ndarray:
    """(N, 2): ids of two nuclei at each pair of pixels that are neighbours, diagonals included."""
    pairs = [np.zeros((0, 2), labels.dtype)]
    for one, other in _neighbours(labels):
        differ = (one != other) & (one > 0) & (other > 0)
        pairs.append(np.stack([one[differ], other[differ]], 1))
    return np.concatenate(pairs)


def _neighbours(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    yield labels[:, :-1], labels[:, 1:]
    yield labels[:-1], labels[1:]
    yield labels[:-1, :-1], labels[1:, 1:]
    yield labels[:-1, 1:], labels[1:, :-1]
