"""MIAC: which nuclei of the student are which of the teacher, and where both lie (Lin et al. 2025, Sec. 3.2).

The paper multiplies the maps of one iteration by the masks of the last, which belong to other images.
Here both sides' nuclei are decoded from the very maps that the loss compares, and held constant: masks
are whole numbers without a gradient. What comes from the teacher stands first throughout.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import cv2
import numpy as np
import torch
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

RADIUS = 1.5  # mean radii of the nuclei; Table 4, r
MARGIN = 2  # px that a boundary reaches beyond its nucleus: one by Sobel, one by dilation
_SQUARE = np.ones((3, 3), np.uint8)


# -- one image ----------------------------------------------------------------------------------


def centroids(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the nuclei of an image lie, and how large they are (Eq. 2, c).

    labels : int (H, W), 0 = background; ids need not be contiguous.
    Returns ids (N,), rising; float64 (N, 2), row and column of the mean pixel; int64 (N,) areas, px.
    """
    rows, columns = np.nonzero(labels)
    ids, of, areas = np.unique(labels[rows, columns], return_inverse=True, return_counts=True)
    sums = [np.bincount(of, place, len(ids)) for place in (rows, columns)]
    return ids, np.stack(sums, 1) / areas[:, None], areas


def assign(teacher: np.ndarray, student: np.ndarray, reach: float) -> np.ndarray:
    """The best one-to-one matching of two sets of points: it gains most by `reach` − distance.

    teacher, student : float (n, 2), (m, 2), pixels; reach : px. Points at that distance, or farther
                       apart, are never partners.
    Returns int64 (N, 2), positions in either set, rising in the first.

    The paper runs Munkres' algorithm on the distances (Eq. 2) and does not say whether r cuts off before
    or afterwards. Before, here: then no far-off point can part two that lie close together.
    """
    cost = np.minimum(cdist(teacher, student) - reach, 0)
    first, second = linear_sum_assignment(cost)
    near = cost[first, second] < 0
    return np.stack([first[near], second[near]], 1)


def match(
    teacher: np.ndarray, student: np.ndarray, radius: float = RADIUS, unit: float | None = None
) -> np.ndarray:
    """The nuclei of one image that teacher and student both found (Eq. 2 and Table 4).

    teacher, student : int (H, W), 0 = background; ids need not be contiguous.
    radius           : centroids of partners are less than this apart, in units.
    unit             : px. By default the mean radius √(area / π) of the nuclei in both maps: the paper
                       gives r = 1.5 without a unit. 1 counts pixels.
    Returns ids (N, 2), the teacher's and the student's of each pair, rising in the first.
    Raises ValueError for maps that do not fit together or hold negative ids, and for a radius or unit
    that is not a number above 0; TypeError for maps that are not of whole numbers.
    """
    _check(teacher, student)
    for name, value in (("radius", radius), ("unit", unit)):
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{name} is {value}, which cuts nothing off or all; give a number above 0.")
    ids, places, areas = zip(*map(centroids, (teacher, student)))
    if unit is None:
        unit = np.sqrt(np.concatenate(areas) / np.pi).mean() if any(map(len, ids)) else 1.0
    found = assign(places[0], places[1], radius * unit)
    return np.stack([ids[0][found[:, 0]], ids[1][found[:, 1]]], 1)


def renumbered(labels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The nuclei `ids` alone, numbered by their place in it; so those of a pair get one number.

    labels : int (H, W); ids : (N,), each at most once.
    Returns int32 (H, W): 1 to N, 0 in the background and in all other nuclei.
    """
    if not len(ids):
        return np.zeros(labels.shape, np.int32)
    order = np.argsort(ids)
    place = np.searchsorted(ids, labels, sorter=order).clip(max=len(ids) - 1)
    return np.where(ids[order][place] == labels, order[place] + 1, 0).astype(np.int32)


def boundary(mask: np.ndarray) -> np.ndarray:
    """The boundary of a nucleus: where Sobel's operator finds its edge, dilated by a pixel (Sec. 3.2).

    mask : uint8 (H, W), 0 or 1.
    Returns uint8 (H, W), 0 or 1: along a straight edge two pixels within and two without. Where the
    image ends the nucleus does not.

    The paper names the two operations, not their size; both are of 3×3 px.
    """
    right, down = (
        cv2.Sobel(mask, cv2.CV_16S, *along, ksize=3, borderType=cv2.BORDER_REPLICATE)
        for along in ((1, 0), (0, 1))
    )
    return cv2.dilate(((right != 0) | (down != 0)).view(np.uint8), _SQUARE)


# -- a batch ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cover:
    """How many pairs hold a pixel, uint8 (B, H, W) each; of boundaries, more than one may.

    both    : in both masks of the pair.
    teacher : in the teacher's alone; student : in the student's alone.
    """

    both: Tensor
    teacher: Tensor
    student: Tensor

    def to(self, device: torch.device | str) -> Cover:
        """The same on another device."""
        return Cover(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Pairs:
    """The matched nuclei of a batch, as constants.

    count      : int64 (B,), pairs in each image, the N of Eq. 3.
    nuclei     : their masks, S and T of Eq. 3; boundaries : S̃ and T̃.
    unmatched  : bool (B, 2, H, W), nuclei without a partner, the teacher's and the student's. No loss
                 reads them; for pictures.
    """

    count: Tensor
    nuclei: Cover
    boundaries: Cover
    unmatched: Tensor

    def to(self, device: torch.device | str) -> Pairs:
        """The same on another device."""
        return Pairs(*(getattr(self, field.name).to(device) for field in fields(self)))


def match_batch(
    teacher: np.ndarray, student: np.ndarray, radius: float = RADIUS, unit: float | None = None
) -> Pairs:
    """`match` for a batch, and the masks that Eq. 3 needs; the images in threads.

    teacher, student : int (B, H, W), as from `instances.hovernet.decode_batch`.
    radius, unit     : as in `match`; the mean radius is each image's own.
    Returns the pairs, on the CPU.
    Raises ValueError and TypeError as `match` does.
    """
    _check(teacher, student, "(B, H, W)")
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        made = pool.map(lambda t, s: _masks(t, s, match(t, s, radius, unit)), teacher, student)
        counts, *maps = zip(*made) if len(teacher) else ((), (), (), ())
    stacked = lambda images, dtype, depth: torch.from_numpy(
        np.array(images, dtype).reshape(len(teacher), depth, *teacher.shape[1:])
    )
    nuclei, boundaries = (Cover(*stacked(images, np.uint8, 3).unbind(1)) for images in maps[:2])
    return Pairs(torch.tensor(counts, dtype=torch.int64), nuclei, boundaries, stacked(maps[2], bool, 2))


def _masks(teacher: np.ndarray, student: np.ndarray, pairs: np.ndarray) -> tuple:
    """(N, nuclei and boundaries uint8 (3, H, W) in the order of Cover, unmatched bool (2, H, W))."""
    paired = np.stack([renumbered(teacher, pairs[:, 0]), renumbered(student, pairs[:, 1])])
    matched, same = paired > 0, paired[0] == paired[1]
    nuclei = np.stack([matched[0] & same, matched[0] & ~same, matched[1] & ~same])
    edges = np.zeros(nuclei.shape, np.uint8)
    for number, (_, *box) in enumerate(ndimage.find_objects(paired), start=1):  # of both masks together
        window = tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in box)
        t, s = (boundary((labels[window] == number).view(np.uint8)) for labels in paired)
        both = t & s
        edges[:, *window] += np.stack([both, t - both, s - both])
    return len(pairs), nuclei, edges, (np.stack([teacher, student]) > 0) & ~matched


def _check(teacher: np.ndarray, student: np.ndarray, expected: str = "(H, W)"):
    for name, labels in (("teacher", teacher), ("student", student)):
        if labels.ndim != expected.count(",") + 1:
            raise ValueError(f"{name} is {labels.shape}, expected {expected}; give its label map.")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{name} is {labels.dtype}, not whole numbers; decode it to a label map first.")
        if labels.min(initial=0) < 0:
            raise ValueError(f"{name} holds negative ids; use 0 for background and positive ones for nuclei.")
    if teacher.shape != student.shape:
        raise ValueError(
            f"teacher is {teacher.shape}, student {student.shape}; give both maps of the same images."
        )
