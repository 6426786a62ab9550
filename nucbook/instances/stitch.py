"""Segment an image that does not fit in memory, block by block.

Each block is seen with a margin around it, and keeps the nuclei whose centroid lies in it. A nucleus
that the margin holds whole looks the same from every block, so one block keeps it and no other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from nucbook.nuclei import Nuclei


@dataclass(frozen=True)
class Block:
    """A rectangle of the image, and what is seen of its surroundings: both first row, first column,
    last row + 1, last column + 1, pixels."""

    core: tuple[int, int, int, int]
    view: tuple[int, int, int, int]


def blocks(shape: tuple[int, int], block: int = 1024, margin: int = 128) -> list[Block]:
    """Cores that tile an image of `shape` (H, W), row by row, and their views, clipped to the image.

    block  : px, longest side of a core. Cores are equal within a pixel, so there are no slivers.
    margin : px seen around a core; more than a nucleus is long.
    Raises ValueError for a block below 1 or a margin below 0.
    """
    if block < 1 or margin < 0:
        raise ValueError(f"block {block}, margin {margin}: give a block of at least 1 px, a margin from 0.")
    (height, width), parts = shape, []
    for top, bottom in pairwise(_cuts(height, block)):
        for left, right in pairwise(_cuts(width, block)):
            first = max(top - margin, 0), max(left - margin, 0)
            last = min(bottom + margin, height), min(right + margin, width)
            parts.append(Block((top, left, bottom, right), first + last))
    return parts


def segment(
    reader: Any, decode: Callable[[np.ndarray], Nuclei], block: int = 1024, margin: int = 128
) -> Iterator[Nuclei]:
    """The nuclei of an image of any size, one `Nuclei` a block (maybe empty), in the image's coordinates.

    reader : `reader[top:bottom, left:right]` gives uint8 (h, w, 3), `reader.shape` begins with H, W: an
             array, a memory-mapped file, a slide.
    decode : such a crop -> its nuclei, in the crop's coordinates.
    block, margin : px, as in `blocks`.

    One crop and its nuclei are held at a time. Warns where a kept nucleus reaches the edge of its view:
    it is longer than the margin, and cut. Raises ValueError for crops that are no uint8 RGB, or nuclei
    of another shape than their crop.
    """
    shape = (int(reader.shape[0]), int(reader.shape[1]))
    return _segment(reader, decode, shape, blocks(shape, block, margin))


def _segment(reader: Any, decode: Callable[[np.ndarray], Nuclei], shape: tuple[int, int], parts: list[Block]):
    for part in parts:
        top, left, bottom, right = part.view
        pixels = np.asarray(reader[top:bottom, left:right])
        if pixels.dtype != np.uint8 or pixels.shape != (bottom - top, right - left, 3):
            raise ValueError(
                f"the reader gave {pixels.dtype} {pixels.shape} for [{top}:{bottom}, {left}:{right}], "
                f"expected uint8 {(bottom - top, right - left, 3)}; convert the image to RGB first."
            )
        nuclei = decode(pixels)
        if nuclei.shape != pixels.shape[:2]:
            raise ValueError(f"decode gave nuclei of {nuclei.shape} for a crop of {pixels.shape[:2]}.")
        nuclei = nuclei.shifted(top, left, shape)
        kept = nuclei[centred_in(nuclei, part.core)]
        _warn_of_cut(kept, part.view)
        yield kept


def centred_in(nuclei: Nuclei, core: tuple[int, int, int, int]) -> np.ndarray:
    """bool (N,): whose centroid lies in a core (top, left, bottom, right), pixels.

    A core of pixels a to b − 1 spans a − 0.5 to b − 0.5, so that cores share no point.
    """
    first, last = np.array(core[:2]) - 0.5, np.array(core[2:]) - 0.5
    return np.all((nuclei.centroids >= first) & (nuclei.centroids < last), axis=1)


def _warn_of_cut(nuclei: Nuclei, view: tuple[int, int, int, int]):
    top, left, bottom, right = view
    height, width = nuclei.shape
    # Where the view ends at the border of the image there is nothing beyond it to miss.
    low = np.array([top if top > 0 else -1, left if left > 0 else -1])
    high = np.array([bottom if bottom < height else -1, right if right < width else -1])
    cut = ((nuclei.boxes[:, :2] == low) | (nuclei.boxes[:, 2:] == high)).any(1)
    if cut.any():
        row, column = nuclei.boxes[cut][0, :2]
        warnings.warn(
            f"the nucleus at ({row}, {column}) is longer than the margin, and cut; give a larger margin.",
            stacklevel=3,
        )


def _cuts(length: int, block: int) -> list[int]:
    count = -(-length // block)
    return [length * i // max(count, 1) for i in range(count + 1)]
