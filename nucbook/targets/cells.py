"""Voronoi cells: the nearest point of every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from nucbook.targets.distance import boundaries


def voronoi(points: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    """The nearest point of every pixel: the weakest guess at nuclei from points (Qu et al. 2019).

    points : B tensors (N_i, 2), row and column.
    shape  : (H, W) of each map, pixels.
    Returns int32 (B, H, W): 1 + index of the nearest point, 0 everywhere where there is none. Of points
    equally near it is the leftmost, of those the uppermost, of those on one place the first.

    Exact. One image whose points are pixels goes through SciPy's distance transform. Else, as along a
    row of pixels the squared distances to the points differ by straight lines, a row is walked from cell
    to cell, all rows of the batch at once: the work grows with the cells a row crosses, not with
    pixels × points.
    """
    points = [torch.as_tensor(p).reshape(-1, 2) for p in points]
    if not points:
        raise ValueError("no images: give one tensor of points each, of shape (0, 2) where there is none.")
    for i, p in enumerate(points):
        if not torch.isfinite(p).all():
            raise ValueError(f"points of image {i}: one is not finite; drop it.")
    if len(points) == 1 and _are_pixels(points[0], shape):
        return _voronoi_by_transform(points[0].numpy().astype(np.int64), shape)[None]
    height, width = shape
    device, most = points[0].device, max(len(p) for p in points)
    if most == 0 or 0 in (height, width):
        return torch.zeros(len(points), height, width, dtype=torch.int32, device=device)

    # Short lists are filled up with points infinitely far to the left, which never win.
    exact = torch.float32 if device.type == "mps" else torch.float64
    padded = torch.full((len(points), most, 2), -torch.inf, dtype=exact, device=device)
    number = torch.zeros(len(points), most, dtype=torch.int64, device=device)
    for image, numbers, p in zip(padded, number, points):
        numbers[: len(p)] = _from_the_left(p)
        image[: len(p)] = p[numbers[: len(p)]]
    rows = torch.arange(height, dtype=exact, device=device)
    column = padded[:, :, 1].repeat_interleave(height, 0)  # (B·H, N)
    # Squared distance to pixel c is offset − 2·c·column + c²; c² is common to all points.
    offset = ((padded[:, None, :, 0] - rows[:, None]) ** 2).flatten(0, 1) + column**2

    # steps[c] is how much the cell's number changes at column c; their running sum paints the row.
    steps = torch.zeros(len(column), width + 1, dtype=torch.int32, device=device)
    nearest = offset.argmin(1, keepdim=True)
    start = torch.zeros_like(nearest)
    steps[:, :1] = nearest.int() + 1
    while True:
        ahead = column - column.gather(1, nearest)
        crossing = (offset - offset.gather(1, nearest)) / (2 * ahead)
        crossing.masked_fill_(~(ahead > 0), torch.inf)  # only a point further right can follow
        crossing, following = crossing.min(1, keepdim=True)
        start = torch.maximum(start, (crossing.floor() + 1).clamp(max=width).long())
        if (start == width).all():
            break
        steps.scatter_add_(1, start, (following - nearest).int())
        nearest = following
    regions = steps[:, :width].cumsum(1, dtype=torch.int32).view(-1, height, width)
    some = torch.tensor([len(p) > 0 for p in points], device=device)[:, None]
    number = F.pad((number.int() + 1) * some, (1, 0))
    return number.gather(1, regions.flatten(1).long()).view_as(regions)


def _from_the_left(points: Tensor) -> Tensor:
    """int64 (N,): the order of points (N, 2) by column, then by row, then as they come."""
    by_row = torch.argsort(points[:, 0], stable=True)
    return by_row[torch.argsort(points[by_row, 1], stable=True)]


def _are_pixels(points: Tensor, shape: tuple[int, int]) -> bool:
    """Whether these points are some, in the CPU's memory, and pixels of a map of this shape."""
    if points.device.type != "cpu" or not len(points):
        return False
    size = torch.tensor(shape)
    return bool(((points == points.round()) & (points >= 0) & (points < size)).all())


def _voronoi_by_transform(pixels: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """Voronoi labels (H, W) of int points (N, 2) in the map; SciPy breaks ties as `voronoi` promises."""
    number = np.zeros(shape, np.int32)
    number[tuple(pixels[::-1].T)] = np.arange(len(pixels), 0, -1)  # the first of several is written last
    nearest = ndimage.distance_transform_edt(number == 0, return_distances=False, return_indices=True)
    return torch.from_numpy(number[tuple(nearest)])


def voronoi_edges(regions: Tensor) -> Tensor:
    """The lines between Voronoi cells: pixels with a side in another cell, so two pixels wide.

    regions : int (B, H, W) from `voronoi`.
    Returns bool (B, H, W).
    """
    return boundaries(regions, 1)
