"""HV maps: where a pixel lies in its nucleus."""

from __future__ import annotations

import torch
from torch import Tensor

from nucbook.targets.check import check


def hv_maps(labels: Tensor) -> Tensor:
    """Where a pixel lies in its nucleus, from left to right and from top to bottom (Graham et al. 2019).

    labels : int (B, H, W).
    Returns float32 (B, 2, H, W) in [-1, 1], no unit: horizontal, then vertical distance to the mean of
    the nucleus' pixels, over the largest on that side of it; 0 in the background.
    """
    check(labels, 3)
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
