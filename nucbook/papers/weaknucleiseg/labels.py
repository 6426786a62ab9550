"""Partial labels of pixels from one point per nucleus.

There are two, and each leaves out the pixels where it is unsure. The Voronoi label is geometry: a nucleus
lies round its point, and tissue between two points. The cluster label is colour: of three clusters of
pixels one is nuclei, one background. From the probabilities of a network trained on both, `instance_labels`
makes one region per point, from which the second network learns.

Points are float (N, 2), row and column: centres of bounding boxes, so one may lie beside a bent
nucleus. They are rounded to pixels. Every function raises ValueError for one outside the image.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import ndimage
from skimage.morphology import disk
from sklearn.cluster import KMeans

from nucbook import targets
from nucbook.instances.components import without_small
from nucbook.sample import inside

BACKGROUND, NUCLEUS, IGNORED = 0, 1, 2  # values of a partial label
INSTANCE_BACKGROUND = 1  # the background's id in `instance_labels`; 0 is ignored, nuclei start at 2

# Radii of discs and areas in pixels at 40×, as the released code has them.
POINT = 2  # a pixel this near to a point is nucleus, so is a component that comes this near
NEAR_POINT = 5  # of the other two clusters the one with fewer pixels this near is background
NEVER_BACKGROUND = 10  # this near to a point nothing is background
MIN_AREA = 30  # of a component of the nuclei's cluster
GROW, SHRINK = 5, 7  # a nucleus grows by the first, loses its holes, shrinks by the second
REACH = 4  # px; neighbours of a pixel are the 9 × 9 round it
SAMPLE = 30_000  # pixels on which k-means looks for a start


def disturbed(
    points: ArrayLike, shape: tuple[int, int], rng: np.random.Generator, jitter: float = 0, missing: float = 0
) -> np.ndarray:
    """Points of an annotator who misses the centres, or some nuclei.

    points  : float (N, 2); shape : (H, W) of the image, pixels.
    jitter  : px, standard deviation of a Gaussian on row and on column; a point stays in the image.
    missing : fraction of the points left out, chosen without replacement.
    Returns float64 (M, 2) in the order of `points`, M = N − round(missing · N). One seed makes one
    annotator: with more jitter each point goes further the same way, with more missing the points
    that were missing still are.
    Raises ValueError for a negative jitter or a fraction outside [0, 1].
    """
    points = _checked(points, shape)
    if not (0 <= jitter < np.inf and 0 <= missing <= 1):
        raise ValueError(f"jitter {jitter} px, missing {missing}? Give px >= 0 and a fraction in [0, 1].")
    noise, order = rng.normal(size=points.shape), rng.permutation(len(points))
    kept = np.sort(order[round(missing * len(points)) :])
    moved = points + jitter * noise
    return np.clip(moved, 0, np.array(shape) - 1)[kept]


# -- the first network's labels ------------------------------------------------------------------


def voronoi_labels(points: ArrayLike, shape: tuple[int, int], radius: int = POINT) -> np.ndarray:
    """Discs round the points are NUCLEUS, borders of their Voronoi cells BACKGROUND (Qu et al. 2019).

    points : float (N, 2); shape : (H, W); radius : px, of the discs.
    Returns uint8 (H, W); all else is IGNORED. Borders are two pixels wide; a disc covers a border.
    No point: all IGNORED. One point, or all on one pixel: a disc and no border.
    """
    pixels = _pixels(points, shape)
    labels = np.full(shape, IGNORED, np.uint8)
    labels[_borders(_cells(pixels, shape))] = BACKGROUND
    labels[_distance(pixels, shape) <= radius] = NUCLEUS
    return labels


def colour_spread(image: np.ndarray, points: ArrayLike, patch: int = 60) -> float:
    """How much colours vary from a pixel to its neighbours: σ_k of Liu et al. 2022, Sec. 2.2.

    image : uint8 (H, W, 3); points : float (N, 2).
    patch : px, side L of the squares round the points; their union is where pixels are looked at,
            the whole image where there is no point.
    Returns the standard deviation of the colour distances (Euclidean, RGB in [0, 1]) between each
    such pixel and its 80 neighbours in 9 × 9; at least 1/255, one grey level, so that it can divide.
    """
    inside = _union_of_squares(_pixels(points, image.shape[:2]), image.shape[:2], patch)
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)  # plane by plane is faster
    height, width = inside.shape
    count = total = squares = 0.0
    for down in range(min(REACH, height - 1) + 1):
        for right in range(-min(REACH, width - 1), min(REACH, width - 1) + 1):
            if (down, right) <= (0, 0):
                continue  # half of the neighbours: a pair is met once
            here = np.s_[..., : height - down, max(-right, 0) : width - max(right, 0)]
            there = np.s_[..., down:, max(right, 0) : width - max(-right, 0)]
            weight = inside[here] + inside[there]  # and counts for each of its two pixels
            difference = planes[here] - planes[there]
            square = np.einsum("crw,crw->rw", difference, difference)  # whole numbers, exact
            count += weight.sum(dtype=np.float64)
            squares += (weight * square).sum(dtype=np.float64)
            total += (weight * np.sqrt(square)).sum(dtype=np.float64)
    variance = squares / count - (total / count) ** 2 if count else 0.0  # one pixel has no neighbour
    return float(np.sqrt(max(variance, 1.0))) / 255


def cluster_features(
    image: np.ndarray,
    points: ArrayLike,
    colour_weight: float = 0.2,
    max_distance: float = 20,
    patch: int = 60,
) -> np.ndarray:
    """Colour and distance to the nearest point, colour scaled to the image (Liu et al. 2022, Sec. 2.2).

    image         : uint8 (H, W, 3); points : float (N, 2).
    colour_weight : λ, no unit; 0.2 for MultiOrgan, 0.12 for TNBC.
    max_distance  : d*, px; farther is as far. 20 and 18. The distance is divided by it, as the
                    released code does: undivided it would drown the colour.
    patch         : L, px, of `colour_spread`; 60 and 80.
    Returns float32 (H, W, 4): λ · RGB / 255 / σ_k, then distance in [0, 1].
    """
    colour = image * np.float32(colour_weight / 255 / colour_spread(image, points, patch))
    distance = _distance(_pixels(points, image.shape[:2]), image.shape[:2])
    return np.dstack([colour, np.minimum(distance / np.float32(max_distance), 1)])


def qu_features(image: np.ndarray, points: ArrayLike, max_distance: float = 20) -> np.ndarray:
    """Colour and distance in fixed proportion (Qu et al. 2019): the baseline.

    Arguments as `cluster_features`. Returns float32 (H, W, 4): RGB / 10, then distance, px.
    """
    distance = _distance(_pixels(points, image.shape[:2]), image.shape[:2])
    return np.dstack([image / np.float32(10), np.minimum(distance, np.float32(max_distance))])


def cluster_labels(features: np.ndarray, points: ArrayLike, seed: int = 0) -> np.ndarray:
    """Three clusters of pixels: NUCLEUS, BACKGROUND, and IGNORED between them (Qu et al. 2019).

    features : float (H, W, D) from `cluster_features` or `qu_features`; points : float (N, 2).
    seed     : of k-means; the same seed gives the same labels.

    The nuclei's cluster holds most points; the background's is the one of the others that has fewer
    pixels near points. Nuclei are then cleaned cell by cell and shrunk, background is kept at a
    distance from the points; pixels that lose their label are IGNORED.
    Returns uint8 (H, W); no point: all IGNORED.
    Raises ValueError for features that are not finite.
    """
    shape = features.shape[:2]
    pixels = _pixels(points, shape)
    labels = np.full(shape, IGNORED, np.uint8)
    if not len(pixels):
        return labels
    clusters, distance = _clusters(features, seed), _distance(pixels, shape)
    far = np.bincount(clusters.ravel(), distance.ravel()) / np.maximum(np.bincount(clusters.ravel()), 1)
    under = np.bincount(clusters[tuple(pixels.T)], minlength=len(far))
    near = np.bincount(clusters[distance <= NEAR_POINT], minlength=len(far))
    ids = range(len(far))  # where counts are equal the nearer cluster is the nuclei
    nuclei = max(ids, key=lambda k: (under[k], -far[k]))
    background = min((k for k in ids if k != nuclei), key=lambda k: (near[k], -far[k]), default=-1)
    labels[(clusters == background) & (distance > NEVER_BACKGROUND)] = BACKGROUND
    labels[_cleaned(without_small(clusters == nuclei, MIN_AREA), _cells(pixels, shape))] = NUCLEUS
    return labels


def _clusters(features: np.ndarray, seed: int) -> np.ndarray:
    """k-means, int (H, W), 0 to 2; fewer clusters where fewer features differ."""
    if not np.isfinite(features).all():
        raise ValueError("features are not finite everywhere; look at the image they were made of.")
    rows = features.reshape(-1, features.shape[2]).astype(np.float64)  # so fine that threads agree
    some = rows[np.random.default_rng(seed).choice(len(rows), min(SAMPLE, len(rows)), replace=False)]
    count = min(3, len(np.unique(some, axis=0)))
    start = KMeans(count, n_init=4, random_state=seed).fit(some).cluster_centers_
    # Pale slides have a flat optimum; stopped early, two clusters may change roles from seed to seed.
    return KMeans(count, init=start, n_init=1, tol=1e-6).fit_predict(rows).reshape(features.shape[:2])


def _cleaned(nuclei: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Each cell's part of a mask closed, filled and shrunk, in the window that it can reach."""
    out = np.zeros_like(nuclei)
    margin = GROW + 1  # a ring of zeros: what is eroded sees its own end
    for i, box in enumerate(ndimage.find_objects(cells), start=1):
        if box is None:  # two points on one pixel share one cell
            continue
        window = tuple(slice(max(side.start - margin, 0), side.stop + margin) for side in box)
        nucleus = cv2.dilate((nuclei[window] & (cells[window] == i)).astype(np.uint8), disk(GROW))
        out[window] |= cv2.erode(filled(nucleus), disk(SHRINK)) > 0
    return out


# -- the second network's labels -----------------------------------------------------------------


def instance_labels(
    probability: np.ndarray,
    points: ArrayLike,
    foreground: float = 0.5,
    background: float = 0.3,
    min_area: int = 20,
) -> np.ndarray:
    """One region per point, cut out of the first network's probabilities (Liu et al. 2022, Sec. 2.2).

    probability : float (H, W), of nucleus; points : float (N, 2).
    foreground  : T_fg. Pixels from there on are nuclei, without components below `min_area` (px) and
                  with holes filled; borders of Voronoi cells cut them. A component counts that reaches
                  the disc round the point of its cell.
    background  : T_bg. Pixels below are background; 0.3 for MultiOrgan, 0.2 for TNBC.
    Returns int32 (H, W): 0 ignored, INSTANCE_BACKGROUND, k + 2 the nucleus of point k. A nucleus
    without a component, and the later of two points on one pixel, are not there.
    Raises ValueError for probabilities that are not finite and for `background` above `foreground`.
    """
    probability = np.asarray(probability)
    if probability.ndim != 2 or not np.isfinite(probability).all():
        raise ValueError(f"probability, {probability.shape}, must be (H, W) and finite; look at the network.")
    if background > foreground:
        raise ValueError(f"background below {background} and nuclei from {foreground} overlap; part them.")
    pixels = _pixels(points, probability.shape)
    cells = _cells(pixels, probability.shape)
    nuclei = filled(without_small(probability >= foreground, min_area).astype(np.uint8)) > 0
    cut = nuclei & ~_borders(cells)
    components = cv2.connectedComponents(cut.astype(np.uint8), connectivity=4)[1]
    hit = np.zeros(components.max(initial=0) + 1, bool)
    hit[components[_distance(pixels, probability.shape) <= POINT]] = True  # the nearest point is the cell's
    hit[0] = False
    labels = ((probability < background) & ~nuclei) * np.int32(INSTANCE_BACKGROUND)
    return np.where(hit[components], cells + INSTANCE_BACKGROUND, labels)


def mask_labels(instances: np.ndarray) -> np.ndarray:
    """True masks in the coding of `instance_labels`: for the row that has every label.

    instances : int (H, W), 0 = background.
    Returns int32 (H, W): INSTANCE_BACKGROUND, and from 2 on the nuclei in the order of their ids.
    """
    ids = np.unique(instances[instances != 0])
    ranks = np.where(instances == 0, 0, np.searchsorted(ids, instances) + 1)
    return (ranks + INSTANCE_BACKGROUND).astype(np.int32)


# -- points, cells, masks ------------------------------------------------------------------------


def _checked(points: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    points = np.asarray(points, np.float64)
    points = points if points.size else points.reshape(0, 2)
    if points.shape[1:] != (2,):
        raise ValueError(f"points are {points.shape}, expected (N, 2): row and column of each.")
    within = inside(points, shape)
    if not within.all():
        row, column = points[~within][0]
        raise ValueError(
            f"point ({row:g}, {column:g}) lies outside the {shape[0]}×{shape[1]} image; "
            "points are (row, column): swap them if they are (x, y), or drop this one."
        )
    return points


def _pixels(points: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    """The pixel of each point, int (N, 2)."""
    return np.floor(_checked(points, shape) + 0.5).astype(np.int64)


def _distance(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float32 (H, W), px to the nearest point; infinite where there is none."""
    if not len(pixels):
        return np.full(shape, np.inf, np.float32)
    elsewhere = np.ones(shape, np.uint8)
    elsewhere[tuple(pixels.T)] = 0
    distance = cv2.distanceTransform(elsewhere, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(distance**2))  # OpenCV's last bit depends on where the array lies in memory


def _cells(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """int32 (H, W): 1 + index of the nearest point, the first of several on one pixel; 0 without a point."""
    return targets.voronoi([torch.from_numpy(pixels)], shape)[0].numpy()


def _borders(cells: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels with a side in another cell, their steps smoothed (released code)."""
    edges = targets.voronoi_edges(torch.from_numpy(cells)[None])[0].numpy()
    return cv2.morphologyEx(edges.view(np.uint8), cv2.MORPH_CLOSE, disk(1)) > 0


def _union_of_squares(pixels: np.ndarray, shape: tuple[int, int], side: int) -> np.ndarray:
    """float32 (H, W): 1 within the squares round the pixels, 0 outside; 1 everywhere without one."""
    union = np.zeros(shape, np.float32)
    for row, column in pixels - side // 2:
        union[max(row, 0) : max(row + side, 0), max(column, 0) : max(column + side, 0)] = 1
    return union if len(pixels) else np.ones(shape, np.float32)


def filled(mask: np.ndarray) -> np.ndarray:
    """A uint8 mask without holes: its outer outlines, painted."""
    outlines = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    return cv2.drawContours(mask.copy(), outlines, -1, 1, cv2.FILLED)
