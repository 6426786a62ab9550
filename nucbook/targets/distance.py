"""How deep a pixel lies in its nucleus, and which pixels lie along its boundary."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from nucbook.targets.check import check


def distance_maps(labels: Tensor) -> Tensor:
    """How deep each pixel lies in its nucleus: Euclidean distance to the nearest pixel that is not of it.

    labels : int (B, H, W).
    Returns float32 (B, H, W), pixels: >= 1 in a nucleus, 1 along its boundary, 0 in the background.
    An instance that fills its whole map has no boundary; its distance is the diagonal of the map.
    """
    check(labels, 3)
    if labels.device.type == "cpu":
        return _distances_by_crops(labels, normalise=False)
    return _distances_by_offsets(labels)


def normalised_distance_maps(labels: Tensor) -> Tensor:
    """`distance_maps` over its maximum within the instance: 1 at the heart of every nucleus, large or small.

    labels : int (B, H, W).
    Returns float32 (B, H, W) in [0, 1], no unit.
    """
    check(labels, 3)
    if labels.device.type == "cpu":
        return _distances_by_crops(labels, normalise=True)
    return _over_own_maximum(_distances_by_offsets(labels), labels)


def boundaries(labels: Tensor, width: float = 1) -> Tensor:
    """Pixels of an instance within `width` px of a pixel that is not of it: `distance_maps` <= width.

    labels : int (B, H, W).
    Returns bool (B, H, W).
    """
    check(labels, 3)
    if not width >= 1:
        raise ValueError(f"a boundary {width} px wide holds no pixel; give at least 1.")
    near = torch.zeros_like(labels, dtype=torch.bool)
    height, breadth = labels.shape[1:]
    reach = int(width)
    for down in range(min(reach, height - 1) + 1):
        for right in range(-min(reach, breadth - 1), min(reach, breadth - 1) + 1):
            # Half of the disc is enough: what differs, differs both ways.
            if (down, right) > (0, 0) and down**2 + right**2 <= width**2:
                here = np.s_[:, : height - down, max(-right, 0) : breadth - max(right, 0)]
                there = np.s_[:, down:, max(right, 0) : breadth - max(-right, 0)]
                differs = labels[here] != labels[there]
                near[here] |= differs
                near[there] |= differs
    return near & (labels != 0)


# -- the two ways to a distance -----------------------------------------------------------------


def _distances_by_crops(labels: Tensor, normalise: bool) -> Tensor:
    """OpenCV's exact transform of each nucleus' own crop; on the CPU nothing is faster."""
    maps = labels.numpy()
    out = np.zeros(maps.shape, np.float32)
    diagonal = np.hypot(*maps.shape[1:])
    for image, result in zip(maps, out):
        for i, window in _windows(image):
            # With the pixels around it, of which the nearest are the background.
            around = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in window)
            mask = image[around] == i
            distance = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            # Its last bit depends on where the array lies in memory. Squared distances are whole numbers,
            # so the root of the nearest one is exact, and a resumed training equals an unbroken one.
            np.minimum(distance, diagonal, out=distance)  # before: it is the largest float without a boundary
            distance = np.sqrt(np.rint(distance * distance))
            result[around] += distance / distance.max() if normalise else distance
    return torch.from_numpy(out)


def _windows(image: np.ndarray) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """(id, slices of its bounding box) of every instance in (H, W)."""
    ids = None
    if image.max(initial=0) > image.size:  # find_objects makes a list as long as the largest id
        ids = np.union1d(image, 0)
        image = np.searchsorted(ids, image)
    for rank, window in enumerate(ndimage.find_objects(image), start=1):
        if window is not None:
            yield (rank if ids is None else ids[rank]), window


def _distances_by_offsets(labels: Tensor) -> Tensor:
    """The same in tensor operations, for accelerators: along the rows, then down the columns.

    A pixel's nearest stranger lies k rows away; in that row it is either the very pixel above or
    below it, if that is a stranger, or as far along the row as that pixel's own nearest stranger.
    """
    height, width = labels.shape[1:]
    along, down = _distance_in_line(labels, 2), _distance_in_line(labels, 1)
    square = along.square()
    nearest = square.clone()
    shortest = torch.minimum(along, down).masked_fill(labels == 0, 0)
    reach = min(int(shortest.max()) if labels.numel() else 0, height - 1)
    for k in range(1, reach + 1):
        upper, lower = np.s_[:, :-k], np.s_[:, k:]
        same = labels[upper] == labels[lower]
        for here, there in ((upper, lower), (lower, upper)):
            nearest[here] = torch.minimum(nearest[here], square[there] * same + k * k)
    return nearest.float().sqrt().clamp(max=float(np.hypot(height, width))) * (labels != 0)


def _distance_in_line(labels: Tensor, dim: int) -> Tensor:
    """int32 (B, H, W): steps along `dim` to the nearest pixel of another id, H + W where there is none."""
    length, far = labels.shape[dim], sum(labels.shape[1:])
    place = torch.arange(length, dtype=torch.int32, device=labels.device)
    place = place.view(-1, 1) if dim == 1 else place
    distance = torch.full(labels.shape, far, dtype=torch.int32, device=labels.device)
    for flip in (False, True):
        line = labels.flip(dim) if flip else labels
        fresh = torch.zeros_like(line, dtype=torch.bool)
        before, after = line.narrow(dim, 0, length - 1), line.narrow(dim, 1, length - 1)
        fresh.narrow(dim, 1, length - 1).copy_(before != after)
        start = torch.where(fresh, place, -far).cummax(dim)[0]  # where the run of this id began
        steps = place - start + 1
        distance = torch.minimum(distance, steps.flip(dim) if flip else steps)
    return distance


def _over_own_maximum(distance: Tensor, labels: Tensor) -> Tensor:
    base = int(labels.max()) + 1 if labels.numel() else 1
    image = torch.arange(len(labels), device=labels.device)[:, None, None]
    ids, rank = torch.unique(labels.long() + image * base, return_inverse=True)
    maximum = distance.new_zeros(len(ids)).scatter_reduce(0, rank.flatten(), distance.flatten(), "amax")
    return distance / maximum[rank].clamp(min=1)
