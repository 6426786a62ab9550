"""From a label map to what a network learns: points, boxes, distances, boundaries, Voronoi cells, HV maps.

Batches of label maps are int tensors (B, H, W), 0 = background; every function answers on the
device of its input. Ids need not be contiguous, touching instances stay apart, and the border of
the image is not the rim of a nucleus: what lies beyond it is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

# -- one label map -> one row a nucleus ---------------------------------------------------------


def boxes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The bounding box of every instance.

    labels : int (H, W).
    Returns int64 ids (N,), ascending, and int64 boxes (N, 4): first row, first column,
    last row + 1, last column + 1.
    """
    _check(labels, 2)
    rows, columns = torch.nonzero(labels, as_tuple=True)
    ids, rank = torch.unique(labels[rows, columns].long(), return_inverse=True)
    nothing = rows.new_zeros(len(ids))
    edge = lambda values, how: nothing.scatter_reduce(0, rank, values, how, include_self=False)
    first = edge(rows, "amin"), edge(columns, "amin")
    last = edge(rows, "amax") + 1, edge(columns, "amax") + 1
    return ids, torch.stack([*first, *last], 1)


def points(labels: Tensor, at: str = "box") -> Tensor:
    """One point a nucleus, what an annotator who only clicks would give.

    labels : int (H, W).
    at     : "box"      centre pixel of the bounding box (Liu et al. 2022, Sec. 3.1);
             "centroid" mean of the pixels, which may fall outside a bent nucleus;
             "inside"   the pixel farthest from the rim, always inside.
    Returns float32 (N, 2), row and column, ordered by id.
    """
    if at not in ("box", "centroid", "inside"):
        raise ValueError(f"points at {at!r}? One of 'box', 'centroid', 'inside'.")
    if at == "box":
        _, corners = boxes(labels)
        return ((corners[:, :2] + corners[:, 2:] - 1) // 2).float()
    _check(labels, 2)
    pixels = torch.nonzero(labels)  # (P, 2)
    ids, rank = torch.unique(labels[tuple(pixels.T)].long(), return_inverse=True)
    if at == "centroid":
        sums = pixels.new_zeros(len(ids), 2).index_add_(0, rank, pixels)
        return sums / torch.bincount(rank, minlength=len(ids))[:, None]
    depth = normalised_distance_maps(labels[None])[0][tuple(pixels.T)]  # 1 at the deepest pixel
    deepest = torch.nonzero(depth == 1).squeeze(1)
    first = torch.full((len(ids),), len(pixels), device=labels.device).scatter_reduce(
        0, rank[deepest], deepest, "amin"
    )
    return pixels[first].float()


# -- batches of label maps -> batches of maps ---------------------------------------------------


def distance_maps(labels: Tensor) -> Tensor:
    """How deep each pixel lies in its nucleus: Euclidean distance to the nearest pixel that is not of it.

    labels : int (B, H, W).
    Returns float32 (B, H, W), pixels: >= 1 in a nucleus, 1 along its rim, 0 in the background. An
    instance that fills its whole image has no rim; its distance is the diagonal of the image.
    """
    _check(labels, 3)
    if labels.device.type == "cpu":
        return _distances_by_crops(labels, normalise=False)
    return _distances_by_offsets(labels)


def normalised_distance_maps(labels: Tensor) -> Tensor:
    """`distance_maps` over its maximum within the instance: 1 at the heart of every nucleus, large or small.

    labels : int (B, H, W).
    Returns float32 (B, H, W) in [0, 1], no unit.
    """
    _check(labels, 3)
    if labels.device.type == "cpu":
        return _distances_by_crops(labels, normalise=True)
    return _over_own_maximum(_distances_by_offsets(labels), labels)


def boundaries(labels: Tensor, width: float = 1) -> Tensor:
    """Pixels of an instance within `width` px of a pixel that is not of it: `distance_maps` <= width.

    labels : int (B, H, W).
    Returns bool (B, H, W).
    """
    _check(labels, 3)
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


def hv_maps(labels: Tensor) -> Tensor:
    """Where a pixel lies in its nucleus, from left to right and from top to bottom (Graham et al. 2019).

    labels : int (B, H, W).
    Returns float32 (B, 2, H, W) in [-1, 1], no unit: horizontal, then vertical distance to the mean of
    the nucleus' pixels (of those in view), over the largest on that side of it; 0 in the background.
    """
    _check(labels, 3)
    maps = torch.zeros(len(labels), 2, *labels.shape[1:], device=labels.device)
    # Runs: pixels of one id side by side in a row. They are far fewer than pixels.
    fresh = torch.ones_like(labels, dtype=torch.bool)
    fresh[..., 1:] = labels[..., 1:] != labels[..., :-1]
    start = torch.nonzero(fresh.flatten()).squeeze(1)
    length = torch.diff(start, append=start.new_full((1,), labels.numel()))
    of = labels.flatten()[start].long()
    start, length, of = start[of != 0], length[of != 0], of[of != 0]
    if not len(of):
        return maps
    height, width = labels.shape[1:]
    image, row, column = start // (height * width), start // width % height, start % width
    of = torch.unique(of + image * (of.max() + 1), return_inverse=True)[1]
    nothing = torch.zeros_like(of)
    total = lambda values: nothing.index_add(0, of, values)[of]
    edge = lambda values, how: nothing.scatter_reduce(0, of, values, how)[of]
    share = lambda offset, low, high: offset / torch.where(offset < 0, -low, high).clamp(min=1)
    # Offsets times the area are whole numbers: across a nucleus one pixel wide they are exactly 0.
    area = total(length)
    down = row * area - total(length * row)
    right = column * area - total(length * column + length * (length - 1) // 2)  # of its first pixel
    left, most = edge(right, "amin"), edge(right + (length - 1) * area, "amax")
    repeat = lambda values: values.repeat_interleave(length)  # of runs, to pixels
    step = torch.arange(int(length.sum()), device=of.device) - repeat(length.cumsum(0) - length)
    pixel = repeat(start + image * height * width) + step
    maps.view(-1)[pixel] = share(repeat(right) + step * repeat(area), repeat(left), repeat(most))
    maps.view(-1)[pixel + height * width] = repeat(share(down, edge(down, "amin"), edge(down, "amax")))
    return maps


def voronoi(points: Sequence[Tensor], shape: tuple[int, int]) -> Tensor:
    """The nearest point of every pixel: the weakest guess at nuclei from points (Qu et al. 2019).

    points : B tensors (N_i, 2), row and column.
    shape  : (H, W) of each map, pixels.
    Returns int32 (B, H, W): 1 + index of the nearest point, 0 everywhere where there is none.

    Exact. Along a row of pixels the squared distances to the points differ by straight lines, so a
    row is walked from cell to cell, all rows of the batch at once: the work grows with the cells a
    row crosses, not with pixels × points.
    """
    points = [torch.as_tensor(p).reshape(-1, 2) for p in points]
    if not points:
        raise ValueError("no images: give one tensor of points each, of shape (0, 2) where there is none.")
    for i, p in enumerate(points):
        if not torch.isfinite(p).all():
            raise ValueError(f"points of image {i}: one is not finite; drop it.")
    height, width = shape
    device, most = points[0].device, max(len(p) for p in points)
    if most == 0 or 0 in (height, width):
        return torch.zeros(len(points), height, width, dtype=torch.int32, device=device)

    # Short lists are filled up with points infinitely far to the left, which never win.
    exact = torch.float32 if device.type == "mps" else torch.float64
    padded = torch.full((len(points), most, 2), -torch.inf, dtype=exact, device=device)
    for image, p in zip(padded, points):
        image[: len(p)] = p
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
    some = torch.tensor([len(p) > 0 for p in points], device=device)
    return regions * some[:, None, None]


def voronoi_edges(regions: Tensor) -> Tensor:
    """The lines between Voronoi cells: pixels with a side in another cell, so two pixels wide.

    regions : int (B, H, W) from `voronoi`.
    Returns bool (B, H, W).
    """
    return boundaries(regions, 1)


# -- the two ways to a distance -----------------------------------------------------------------


def _distances_by_crops(labels: Tensor, normalise: bool) -> Tensor:
    """OpenCV's exact transform of each nucleus' own crop; on the CPU nothing is faster."""
    maps = labels.numpy()
    out = np.zeros(maps.shape, np.float32)
    diagonal = np.hypot(*maps.shape[1:])
    for image, result in zip(maps, out):
        for i, window in _windows(image):
            window = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in window)  # with its rim
            mask = image[window] == i
            distance = cv2.distanceTransform(mask.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            # Its last bit depends on where the array lies in memory. Squared distances are whole numbers,
            # so the root of the nearest one is exact, and a resumed training equals an unbroken one.
            distance = np.sqrt(np.rint(distance * distance))
            np.minimum(distance, diagonal, out=distance)
            result[window] += distance / distance.max() if normalise else distance
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


def _check(labels: Tensor, dimensions: int):
    wanted = "(B, H, W)" if dimensions == 3 else "(H, W)"
    if labels.ndim != dimensions:
        raise ValueError(f"labels are {tuple(labels.shape)}, wanted {wanted}.")
    if labels.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"labels are {labels.dtype}, wanted whole numbers {wanted}, one id a nucleus.")
