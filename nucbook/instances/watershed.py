"""Cut a mask into nuclei along the valleys of a distance map.

A distance map is a mountain in every nucleus. Its peaks are the markers; flooding from all of them
at once (Vincent and Soille 1991) meets in the valleys, where touching nuclei part.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

# Water passes over the four sides of a pixel, not over its corners, here as in the flood.
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
_NEIGHBOURS = (np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])  # each pixel and the one below, right


def watershed_from_distance(
    foreground: np.ndarray,
    distance: np.ndarray,
    *,
    threshold: float = 0.5,
    valley: float = 0.15,
    smooth: float = 1.0,
    min_area: int = 20,
) -> np.ndarray:
    """Nuclei from a predicted mask and predicted normalised distances.

    foreground : float (H, W), probability of lying in a nucleus.
    distance   : float (H, W), normalised distance to the boundary, about 1 at the centre of a nucleus
                 (`targets.normalised_distance_maps`).
    threshold  : pixels of `foreground` above it belong to nuclei.
    valley     : in units of `distance`. Two peaks are two nuclei if the valley between them lies at
                 least this far below the lower peak; shallower ones are ripples of one nucleus.
    smooth     : px, σ of the Gaussian that calms `distance` first; 0 leaves it as it is.
    min_area   : px; smaller nuclei are dropped.
    Returns int32 (H, W), ids 1 to N. Holes inside one nucleus are filled.
    Raises ValueError for maps of different sizes, or not finite.
    """
    foreground, distance = np.asarray(foreground), np.asarray(distance, np.float32)
    if foreground.ndim != 2 or foreground.shape != distance.shape:
        raise ValueError(
            f"foreground is {foreground.shape}, distance {distance.shape}; expected (H, W) both."
        )
    for name, values in (("foreground", foreground), ("distance", distance)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is not finite everywhere; look at what the network gave.")
    mask = foreground > threshold
    if smooth > 0:
        distance = cv2.GaussianBlur(distance, (0, 0), smooth)
    distance = np.where(mask, distance, distance.min(initial=0) - 1)  # no peak outside the mask
    peaks = mask & (distance == cv2.dilate(distance, _CROSS))
    markers = cv2.connectedComponents(peaks.view(np.uint8), connectivity=4)[1]
    basins = watershed(-distance, markers, mask=mask)
    return _tidy(_merge_shallow(basins, markers, distance, valley), min_area)


def split_by_distance(mask: np.ndarray, min_distance: int = 6, smooth: float = 1.5) -> np.ndarray:
    """Nuclei from a mask alone: the watershed of its own distance to the background.

    mask         : bool (H, W).
    min_distance : px; peaks are at least this far apart, and from the border of the image.
    smooth       : px, σ of the Gaussian that calms the distances first.
    Returns int32 (H, W), ids 1 to N. A component of the mask without a peak is dropped: it is thin, or
    little of it lies in the image.
    """
    mask = np.asarray(mask, bool)
    distance = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    distance = cv2.GaussianBlur(distance, (0, 0), smooth) if smooth > 0 else distance
    components = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1]
    peaks = peak_local_max(distance, min_distance=min_distance, labels=components)
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, markers, mask=mask).astype(np.int32)


def _merge_shallow(basins: np.ndarray, markers: np.ndarray, height: np.ndarray, valley: float) -> np.ndarray:
    """Join basins that no valley of at least `valley` separates, from the highest pass down.

    That leaves the peaks of at least that dynamic (Grimaud 1992), as an h-maxima transform would.
    Two pixels side by side form a pass between their basins as high as the lower of them.
    """
    sides = []
    for here, there in _NEIGHBOURS:
        a, b = basins[here], basins[there]
        touch = (a != b) & (a > 0) & (b > 0)
        low, high = np.minimum(a[touch], b[touch]), np.maximum(a[touch], b[touch])
        sides.append((low, high, np.minimum(height[here][touch], height[there][touch])))
    first, second, passes = map(np.concatenate, zip(*sides))
    order = np.lexsort((-passes, second, first))  # the highest pass of each pair first
    first, second, passes = first[order], second[order], passes[order]
    best = np.ones(len(order), bool)
    best[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    first, second, passes = first[best], second[best], passes[best]

    count = markers.max(initial=0) + 1
    peak = np.zeros(count, height.dtype)
    peak[markers] = height  # a marker is level
    owner = list(range(count))

    def find(i: int) -> int:
        while owner[i] != i:
            owner[i] = i = owner[owner[i]]
        return i

    for k in np.argsort(-passes, kind="stable"):
        one, other = find(int(first[k])), find(int(second[k]))
        if one != other and min(peak[one], peak[other]) - passes[k] < valley:
            lower, higher = (one, other) if peak[one] < peak[other] else (other, one)
            owner[lower] = higher
    return np.array([find(i) for i in range(count)], np.int32)[basins]


def _fill_holes(labels: np.ndarray) -> np.ndarray:
    """Give each hole in the background that one nucleus alone surrounds to that nucleus."""
    count, components = cv2.connectedComponents((labels == 0).view(np.uint8), connectivity=4)
    closed = np.ones(count, bool)
    closed[0] = False
    for edge in (components[0], components[-1], components[:, 0], components[:, -1]):
        closed[edge] = False
    hole = closed[components]
    lowest, highest = np.full(count, np.iinfo(np.int32).max, np.int32), np.zeros(count, np.int32)
    for here, there in _NEIGHBOURS:
        for inner, outer in ((here, there), (there, here)):
            edges = hole[inner] & (labels[outer] > 0)
            np.minimum.at(lowest, components[inner][edges], labels[outer][edges])
            np.maximum.at(highest, components[inner][edges], labels[outer][edges])
    return np.where(hole, np.where(lowest == highest, highest, 0)[components], labels)


def _tidy(labels: np.ndarray, min_area: int) -> np.ndarray:
    """Holes filled, small nuclei dropped, ids 1 to N in the order of the old ones."""
    labels = _fill_holes(labels)
    areas = np.bincount(labels.ravel(), minlength=1)
    keep = areas >= max(min_area, 1)
    keep[0] = False
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[labels]
