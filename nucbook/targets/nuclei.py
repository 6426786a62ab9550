"""One row per nucleus: boxes and points."""

from __future__ import annotations

import torch
from torch import Tensor

from nucbook.targets.check import check
from nucbook.targets.distance import normalised_distance_maps


def boxes(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The bounding box of every instance.

    labels : int (H, W).
    Returns int64 ids (N,), ascending, and int64 boxes (N, 4): first row, first column,
    last row + 1, last column + 1.
    """
    check(labels, 2)
    rows, columns = torch.nonzero(labels, as_tuple=True)
    ids, rank = torch.unique(labels[rows, columns].long(), return_inverse=True)
    nothing = rows.new_zeros(len(ids))
    edge = lambda values, how: nothing.scatter_reduce(0, rank, values, how, include_self=False)
    first = edge(rows, "amin"), edge(columns, "amin")
    last = edge(rows, "amax") + 1, edge(columns, "amax") + 1
    return ids, torch.stack([*first, *last], 1)


def points(labels: Tensor, at: str = "box") -> Tensor:
    """One point per nucleus, what an annotator who only clicks would give.

    labels : int (H, W).
    at     : "box"      centre pixel of the bounding box (Liu et al. 2022, Sec. 3.1);
             "centroid" mean of the pixels, which may fall outside a bent nucleus;
             "inside"   the pixel farthest from the boundary, always inside.
    Returns float32 (N, 2), row and column, ordered by id.
    """
    if at not in ("box", "centroid", "inside"):
        raise ValueError(f"points at {at!r}? One of 'box', 'centroid', 'inside'.")
    if at == "box":
        _, corners = boxes(labels)
        return ((corners[:, :2] + corners[:, 2:] - 1) // 2).float()
    check(labels, 2)
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
