"""One label map from those of overlapping windows: nothing that a window found is lost.

Windows need not agree about the nuclei in their overlap, since each was decoded on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

Window = tuple[int, int]  # first row and column, pixels


def mosaic(
    maps: Sequence[np.ndarray], windows: Sequence[Window], shape: tuple[int, int], min_area: int = 0
) -> np.ndarray:
    """The nuclei of an image from those of its windows.

    maps     : int32 (h, w) of each window, all of one size, 0 = background, ids from 1 in each.
    windows  : first row and column of each: a grid, as `nucbook.data.patches.grid` gives it.
    shape    : (H, W) of the image, pixels.
    min_area : px, of an instance.
    Returns int32 (H, W), 4-connected instances 1 to N. The same input gives the same result.

    1. A pixel takes the label of the window in whose core it lies; cores tile the image, their edges halve
       the overlaps. Where that window has background, the first window that has a label there gives it. So
       every pixel that has a label in any window has one in the image.
    2. Two labels of windows side by side are one nucleus where they agree in the overlap of the two windows:
       of all labels there each shares most pixels with the other, and they share more than half of the
       smaller one. Where one window divides what the other leaves whole, the edge of the cores is a boundary.
    3. The 4-connected components of the result are the instances. One below `min_area` was cut off by an
       edge of a core, and joins the instance that it has the longest boundary with.
    """
    height, width = maps[0].shape
    before = np.cumsum([0, *(int(own.max(initial=0)) for own in maps)])  # ids in the windows before
    painted = np.zeros(shape, np.int32)
    everything = [(slice(row, row + height), slice(column, column + width)) for row, column in windows]
    order = range(len(maps))
    paint = [(k, everything[k]) for k in reversed(order)]  # the last to paint a pixel is the one it takes
    paint += zip(order, cores(windows, (height, width), shape))
    for k, (rows, columns) in paint:
        row, column = windows[k]
        own = maps[k][rows.start - row : rows.stop - row, columns.start - column : columns.stop - column]
        np.copyto(painted[rows, columns], own + np.int32(before[k]), where=own > 0)
    same = [np.zeros((0, 2), np.int64)]
    for one, other in _side_by_side(windows):
        down, right = np.subtract(windows[other], windows[one])
        pairs = agreeing(maps[one][down:, right:], maps[other][: height - down, : width - right])
        same.append(pairs + before[[one, other]])
    nuclei = _united(np.concatenate(same), int(before[-1]) + 1)
    return absorbed(label(nuclei[painted], connectivity=1).astype(np.int32), min_area)


def agreeing(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Labels of two maps of the same pixels that are the same nucleus, int64 (N, 2): rule 2 of `mosaic`.

    one, other : int (H, W), 0 = background. Of equal shares the lower id is the partner.
    """
    count = int(other.max(initial=0)) + 1
    both = one.astype(np.int64).ravel() * count + other.ravel()
    table = np.bincount(both, minlength=(int(one.max(initial=0)) + 1) * count).reshape(-1, count)
    shared = table[1:, 1:]
    if not shared.size:
        return np.zeros((0, 2), np.int64)
    ids, partner = np.arange(len(shared)), shared.argmax(1)
    smaller = np.minimum(table[1:].sum(1), table[:, 1:].sum(0)[partner])
    agree = (shared.argmax(0)[partner] == ids) & (2 * shared[ids, partner] > smaller)
    return np.stack([ids, partner], 1)[agree] + 1


def absorbed(labels: np.ndarray, min_area: int) -> np.ndarray:
    """Instances below `min_area` px join a neighbour: rule 3 of `mosaic`.

    labels : int32 (H, W), 1 to N.
    The neighbour is the one with the longest boundary, counted in sides of pixels; of equal ones the lower
    id. An instance without a neighbour stays. Returns int32 (H, W), ids closed up.
    """
    while True:
        small = np.bincount(labels.ravel(), minlength=1) < min_area
        small[0] = False
        if not small.any():
            return labels
        sides = [np.zeros((0, 2), np.int32)]
        for one, other in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
            for here, there in ((one, other), (other, one)):
                beside = small[here] & (there > 0) & (here != there)
                sides.append(np.stack([here[beside], there[beside]], 1))
        pairs, length = np.unique(np.concatenate(sides), axis=0, return_counts=True)
        if not len(pairs):
            return labels
        pairs = pairs[np.lexsort((pairs[:, 1], -length, pairs[:, 0]))]
        longest = np.unique(pairs[:, 0], return_index=True)[1]
        labels = _united(pairs[longest], len(small))[labels]


def cores(
    windows: Sequence[Window], size: tuple[int, int], shape: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """Rows and columns of the image that are each window's own: they tile it, and halve the overlaps.

    windows, shape : as in `mosaic`; size : (h, w) of a window, pixels.
    """
    axes = []
    for axis, extent in enumerate(shape):
        starts = sorted({window[axis] for window in windows})
        cuts = [0, *((a + size[axis] + b) // 2 for a, b in pairwise(starts)), extent]
        axes.append({start: slice(*cut) for start, cut in zip(starts, pairwise(cuts))})
    return [(axes[0][row], axes[1][column]) for row, column in windows]


def _side_by_side(windows: Sequence[Window]) -> Iterator[tuple[int, int]]:
    """Numbers of the windows whose cores share an edge: above and below, left and right."""
    number = {window: k for k, window in enumerate(windows)}
    rows, columns = (sorted({window[axis] for window in windows}) for axis in (0, 1))
    yield from ((number[a, c], number[b, c]) for a, b in pairwise(rows) for c in columns)
    yield from ((number[r, a], number[r, b]) for r in rows for a, b in pairwise(columns))


def _united(pairs: np.ndarray, count: int) -> np.ndarray:
    """int32 (count,): new ids of labels 0 to count − 1, one for all that pairs (N, 2) connect; 0 stays 0."""
    graph = coo_matrix((np.ones(len(pairs), bool), tuple(pairs.T)), (count, count))
    return connected_components(graph, directed=False)[1].astype(np.int32)
