"""One label map from those of overlapping windows: nothing that a window found is lost.

Windows need not agree about the nuclei in their overlap, since each was decoded on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.ndimage import center_of_mass
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

    1. A nucleus belongs to the window in whose core its centroid lies, and is painted whole; cores tile the
       image, their edges halve the overlaps. Where two of them overlap, the first window's is painted.
    2. Windows that see a nucleus differently may each leave it to the other. So what is still unpainted takes
       its label from the first window that has one there: every pixel that has a label in any window has one
       in the image.
    3. The 4-connected components of the result are the instances. One below `min_area` is what another
       nucleus left uncovered, and joins the instance that it has the longest boundary with.

    A nucleus longer than the overlap is seen whole by no window, and may be cut.
    """
    height, width = maps[0].shape
    before = np.cumsum([0, *(int(own.max(initial=0)) for own in maps)])  # ids in the windows before
    areas = cores(windows, (height, width), shape)
    centred = [_centred_in(*each) for each in zip(maps, windows, areas)]
    painted = np.zeros(shape, np.int32)
    for kept in ([np.arange(len(one)) > 0 for one in centred], centred):  # the last to paint a pixel wins
        for k in reversed(range(len(maps))):
            row, column = windows[k]
            canvas = painted[row : row + height, column : column + width]
            np.copyto(canvas, maps[k] + np.int32(before[k]), where=kept[k][maps[k]])
    return absorbed(label(painted, connectivity=1).astype(np.int32), min_area)


def _centred_in(labels: np.ndarray, window: Window, core: tuple[slice, slice]) -> np.ndarray:
    """bool (ids + 1,): the labels of a window whose centroid lies in its core; never 0."""
    count = int(labels.max(initial=0)) + 1
    centres = np.array(center_of_mass(labels > 0, labels, np.arange(1, count))).reshape(-1, 2) + window
    first, last = np.array([(side.start, side.stop) for side in core]).T - 0.5
    return np.concatenate([[False], ((centres >= first) & (centres < last)).all(1)])


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


def _united(pairs: np.ndarray, count: int) -> np.ndarray:
    """int32 (count,): new ids of labels 0 to count − 1, one for all that pairs (N, 2) connect; 0 stays 0."""
    graph = coo_matrix((np.ones(len(pairs), bool), tuple(pairs.T)), (count, count))
    return connected_components(graph, directed=False)[1].astype(np.int32)
