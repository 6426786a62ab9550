"""Five properties of every nucleus of an image, all at once (Lin et al. 2025, Table 1).

The unit of the area, the perimeter and which bounding rectangle is meant are open in the paper; `properties`
states what is taken. Of a nucleus cut by the border of the image what is seen counts.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from skimage.color import hed_from_rgb

PROPERTIES = ("area", "solidity", "circularity", "haematoxylin", "extent")

# What a grey level of red, green and blue adds to haematoxylin: float32 (1, 256, 3), optical density.
_DENSITY = -np.log10(np.maximum(np.arange(256), 1) / 255)[None, :, None] * hed_from_rgb[:, 0]
_DENSITY = _DENSITY.astype(np.float32)


def properties(labels: np.ndarray, image: np.ndarray, mpp: float = 0.25) -> np.ndarray:
    """Five properties of every nucleus, all at once (Lin et al. 2025, Table 1).

    labels : int (H, W), 0 = background, ids need not be contiguous; image : uint8 (H, W, 3), RGB.
    mpp    : µm per pixel; 0.25 is a 40× scan.

    Returns float64 (N, 5), one row per nucleus in the order of the ids, columns as in `PROPERTIES`:
    area         : µm², so that scans of 20× and 40× can be mixed.
    solidity     : its pixels / those whose centre lies in the convex hull of its centres, in (0, 1].
    circularity  : 4π · area / perimeter², Crofton's perimeter in four directions, with holes and the
                   border of the image. 1 for a large disc, less for what is long or ragged; of a few
                   pixels the perimeter is too short (one pixel: 1.75).
    haematoxylin : mean over its pixels, optical density (log10), of Ruifrok and Johnston's stain (2001);
                   less than none counts as none.
    extent       : its pixels / those of its upright bounding box, in (0, 1].

    Raises ValueError for other types and shapes, negative ids, and an `mpp` that is not positive.
    """
    _check(labels, image, mpp)
    runs = runs_of(labels)
    if not len(runs.ids):
        return np.zeros((0, len(PROPERTIES)))
    top, left = np.divmod(runs.start, labels.shape[1])
    right = left + runs.length - 1
    over = lambda how, values: how.reduceat(values, runs.first)
    pixels = over(np.add, runs.length)
    height = over(np.maximum, top) - over(np.minimum, top) + 1
    width = over(np.maximum, right) - over(np.minimum, left) + 1
    inside = np.flatnonzero(runs.ranks > 0)
    stain = cv2.LUT(image.reshape(1, -1, 3).take(inside, 1), _DENSITY)
    stain = cv2.transform(stain, np.ones((1, 3), np.float32)).ravel()  # the sum of the three
    stain = np.bincount(runs.ranks.ravel().take(inside), np.maximum(stain, 0))[1:]
    columns = [
        pixels * mpp**2,
        pixels / _hull_pixels(np.column_stack([left, top, right, top]), runs.first),
        4 * np.pi * pixels / _perimeters(runs.ranks) ** 2,
        stain / pixels,
        pixels / (height * width),
    ]
    return np.column_stack(columns)


# -- label maps, run by run ----------------------------------------------------------------------


class Runs(NamedTuple):
    """Pixels of one id side by side in a row: those of all nuclei, nucleus by nucleus, from top to bottom."""

    ids: np.ndarray  # (N,), rising
    first: np.ndarray  # (N,), the first run of each
    start: np.ndarray  # (R,), first pixel, counted in reading order
    length: np.ndarray  # (R,), pixels
    ranks: np.ndarray  # int32 (H, W), the label map with ids 1 to N


def runs_of(labels: np.ndarray) -> Runs:
    """The runs of a label map int (H, W)."""
    fresh = np.ones(labels.shape, bool)
    fresh[:, 1:] = labels[:, 1:] != labels[:, :-1]
    start = np.flatnonzero(fresh)
    length = np.diff(start, append=labels.size)
    of = labels.ravel()[start]
    order = np.argsort(of, kind="stable")[np.count_nonzero(of == 0) :]  # background is first
    first = np.flatnonzero(np.diff(of[order], prepend=0))
    rank = np.zeros(len(of), np.int32)
    rank[order] = np.repeat(np.arange(1, len(first) + 1), np.diff(first, append=len(order)))
    ranks = np.repeat(rank, length).reshape(labels.shape)
    return Runs(of[order[first]], first, start[order], length[order], ranks)


def _perimeters(ranks: np.ndarray) -> np.ndarray:
    """float64 (N,), pixels: how often lines in four directions cross each outline (Crofton's formula)."""
    width = ranks.shape[1] + 2
    flat = np.pad(ranks, 1).ravel()  # padded, so that no line runs on into the next row
    crossings: np.ndarray = np.zeros(1)
    for step, spacing in ((1, 1), (width, 1), (width - 1, 0.5**0.5), (width + 1, 0.5**0.5)):
        at = np.flatnonzero(flat[step:] != flat[:-step])
        crossings = crossings + spacing * np.bincount(np.concatenate([flat[at], flat[at + step]]))
    return np.pi / 8 * crossings[1:]


def _hull_pixels(ends: np.ndarray, first: np.ndarray) -> np.ndarray:
    """int64 (N,): pixels in the hulls of runs whose ends are (x, y, x, y), (R, 4), by Pick's theorem."""
    points = ends.astype(np.int32).reshape(-1, 2)
    bounds = pairwise([*(2 * first).tolist(), len(points)])
    hulls = [cv2.convexHull(points[i:j])[:, 0] for i, j in bounds]  # (corners, 2) each
    corners = np.concatenate(hulls).astype(np.int64)
    begin = np.cumsum([0, *map(len, hulls)])
    following = np.arange(1, len(corners) + 1)
    following[begin[1:] - 1] = begin[:-1]
    (x, y), (x2, y2) = corners.T, corners[following].T
    twice_area = np.abs(np.add.reduceat(x * y2 - x2 * y, begin[:-1]))
    return (twice_area + np.add.reduceat(np.gcd(x2 - x, y2 - y), begin[:-1])) // 2 + 1


def _check(labels: np.ndarray, image: np.ndarray, mpp: float):
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        expected = (
            "expected (H, W) of whole numbers from 0 on; pass them through nucbook.sample.to_instances."
        )
        raise ValueError(f"labels are {labels.dtype} {labels.shape}, {expected}")
    if image.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        expected = (
            f"expected uint8 {(*labels.shape, 3)} as its labels; pass it through nucbook.sample.to_rgb."
        )
        raise ValueError(f"image is {image.dtype} {image.shape}, {expected}")
    if not 0 < mpp < np.inf:
        raise ValueError(f"mpp is {mpp}; give micrometres per pixel, as 0.25 for a 40× scan.")
