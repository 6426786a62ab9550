"""Which of a teacher's boxes become pseudo labels: as many as the labelled images let expect (Sec. 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance

VALUES = np.linspace(0.1, 1.0, 91)  # thresholds that are tried, Sec. 2.2
TILE = 256  # px, side of the squares in which nuclei are counted


class BoxThreshold(NamedTuple):
    """Thresholds on the score of a box.

    nearest   : whose counts are distributed most like the labelled ones, by the Wasserstein distance.
    mean      : whose mean count is nearest to the labelled one, as in the released code.
    distances : float (91,), Wasserstein distance at each of `VALUES`, nuclei per tile.
    """

    nearest: float
    mean: float
    distances: np.ndarray


def box_threshold(scores: Sequence[np.ndarray], counts: ArrayLike) -> BoxThreshold:
    """The threshold that brings the number of nuclei per tile nearest to that of labelled tiles.

    scores : for each unlabelled tile, the scores of its detections, any order.
    counts : nuclei in each labelled tile.

    Of equally good thresholds the lowest is taken. Raises ValueError where either side has no tile. Where no
    tile has a detection every threshold is as good, and the lowest is returned.
    """
    counts = np.asarray(counts, np.float64).ravel()
    if not len(scores) or not len(counts):
        raise ValueError(
            f"{len(scores)} unlabelled and {len(counts)} labelled tiles; a box threshold compares their "
            "counts of nuclei, so both are needed."
        )
    found = np.stack([len(own) - np.searchsorted(np.sort(own), VALUES) for own in scores])  # (T, 91)
    distances = np.array([wasserstein_distance(column, counts) for column in found.T])
    means = np.abs(found.mean(0) - counts.mean())
    return BoxThreshold(float(VALUES[distances.argmin()]), float(VALUES[means.argmin()]), distances)


def by_tile(shape: tuple[int, int], centres: np.ndarray) -> np.ndarray:
    """The tile of an image in which each centre lies, int (N,), and so `number_of_tiles(shape)` in all.

    shape : (H, W), px; centres : float (N, 2), row and column. Tiles are equal, `TILE` px at most.
    """
    rows, columns = _tiles(shape)
    row = np.clip(centres[:, 0] * rows // shape[0], 0, rows - 1)
    column = np.clip(centres[:, 1] * columns // shape[1], 0, columns - 1)
    return (row * columns + column).astype(np.int64)


def number_of_tiles(shape: tuple[int, int]) -> int:
    """How many tiles an image of (H, W) px has."""
    rows, columns = _tiles(shape)
    return rows * columns


def _tiles(shape: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // TILE), -(-shape[1] // TILE)
