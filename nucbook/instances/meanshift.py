"""Mean shift: embeddings that a network pulled together become nuclei, however many there are.

Every point walks uphill to the mean of its ball until it stands on a mode of the density; points of
one mode are one nucleus (Comaniciu and Meer 2002). The kernel is flat, as in scikit-learn.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 512  # points that may set out together
CHUNK = 4096  # points that one product takes in: its result stays in the cache
BESIDE = 0.5  # bandwidths; a point so near to where another set out need not walk
STILL = 1e-3  # bandwidths; a walker that moves less has arrived (as in scikit-learn)


def mean_shift(embeddings: Tensor, bandwidth: float, max_steps: int = 300) -> tuple[Tensor, Tensor]:
    """Cluster points by the modes of their density.

    embeddings : float (N, D), on any device.
    bandwidth  : embedding units, radius of the ball whose mean a walker moves to. Of modes nearer to each
                 other than this, the one with most points in its ball stays.
    max_steps  : a walker stops after so many steps at the latest.
    Returns int64 labels (N,), the nearest mode of each point, and the modes (C, D), fullest ball first,
    on the device of `embeddings`. The same input gives the same result.
    Raises ValueError for embeddings that are no floats (N, D) or not finite, and a bandwidth not above 0.

    Not every point needs to walk: one that lies within the bandwidth of a mode has found it, and one
    beside the start of another would walk the same way. So a few walk, spread over the points; then a
    few of those that still lack a mode, until none does.
    """
    embeddings = torch.as_tensor(embeddings).detach()
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        given = f"{embeddings.dtype} {tuple(embeddings.shape)}"
        raise ValueError(f"embeddings are {given}, expected floats (N, D), one row per pixel.")
    if not torch.isfinite(embeddings).all():
        raise ValueError("an embedding is not finite; look at what the network gave.")
    if not 0 < bandwidth < math.inf:
        raise ValueError(f"bandwidth {bandwidth}? It is a radius in embedding units, above 0.")
    if len(embeddings) == 0:
        return torch.zeros(0, dtype=torch.long, device=embeddings.device), embeddings

    cloud = _Cloud(embeddings, bandwidth)
    climbed, counts = [], []
    lacking = torch.arange(len(embeddings), device=embeddings.device)
    while len(lacking):
        spread = torch.arange(min(AT_ONCE, len(lacking)), device=lacking.device)
        starts = cloud.points[lacking[spread * len(lacking) // len(spread)]]
        starts = starts[_first_of_each(starts, 1)]  # neighbours would meet on the way
        found, full = cloud.climb(starts, max_steps)
        climbed.append(found)
        counts.append(full)
        for places, radius in ((found, 1), (starts, BESIDE)):
            lacking = lacking[cloud.far(places, lacking, radius)]
    modes = _merge(torch.cat(climbed), torch.cat(counts))
    return cloud.nearest(modes), cloud.place(modes)


class _Cloud:
    """All points, centred, in bandwidths; distances to them as products of matrices.

    |w − x|² <= 1 is w·x − |x|²/2 >= (|w|² − 1)/2: with −|x|²/2 as one more coordinate of x, one product
    tells who is in whose ball, and a second one, with a 1 as one more coordinate, gives sums and counts.
    """

    def __init__(self, embeddings: Tensor, bandwidth: float):
        self.dtype, self.bandwidth = embeddings.dtype, bandwidth
        wide = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
        self.centre = wide.mean(0)
        points = (wide - self.centre) / bandwidth
        far = points.square().sum(1).max() > 1e4  # float32 would blur the boundary of the balls by 1e-3
        points = points.double() if far else points.float()
        self.points = points
        self.lifted = _lifted(points)  # (N, D + 1)
        self.counted = torch.cat([points, torch.ones_like(points[:, :1])], 1)

    def place(self, modes: Tensor) -> Tensor:
        """Modes in the units they came in."""
        return (modes * self.bandwidth + self.centre).to(self.dtype)

    def climb(self, walkers: Tensor, max_steps: int) -> tuple[Tensor, Tensor]:
        """Walk (S, D) uphill; returns where they arrived, each place once (M, D), and the points there."""
        arrived, counts = [], []
        for step in range(max_steps):
            sums = walkers.new_zeros(len(walkers), self.counted.shape[1])
            edge = 0.5 * (walkers.square().sum(1, keepdim=True) - 1)
            lifted = torch.cat([walkers, torch.ones_like(edge)], 1)
            for low in range(0, len(self.points), CHUNK):
                inside = (lifted @ self.lifted[low : low + CHUNK].T).ge_(edge)  # 1 or 0
                sums.addmm_(inside, self.counted[low : low + CHUNK])
            means, count = sums[:, :-1] / sums[:, -1:], sums[:, -1]
            still = (means - walkers).norm(dim=1) <= STILL
            still |= step == max_steps - 1
            arrived.append(means[still])
            counts.append(count[still])
            walkers = means[~still]
            walkers = walkers[_first_of_each(walkers, STILL)]
            if len(walkers) == 0:
                break
        places = torch.cat(arrived)
        first = _first_of_each(places, STILL)
        return places[first], torch.cat(counts)[first]

    def nearest(self, modes: Tensor) -> Tensor:
        """The nearest mode of each point, int64."""
        lifted = _lifted(modes)
        return torch.cat([(chunk @ lifted.T).argmax(1) for chunk in self.counted.split(CHUNK)])

    def far(self, places: Tensor, rows: Tensor, radius: float) -> Tensor:
        """bool: which points of `rows` have no place within the radius, bandwidths."""
        counted, lifted = self.counted[rows], _lifted(places)
        best = torch.cat([(chunk @ lifted.T).amax(1) for chunk in counted.split(CHUNK)])
        return counted[:, :-1].square().sum(1) - 2 * best > radius**2


def _lifted(places: Tensor) -> Tensor:
    """(C, D + 1): of a product with x and a 1, the largest is that of the place nearest to x."""
    return torch.cat([places, -0.5 * places.square().sum(1, keepdim=True)], 1)


def _first_of_each(places: Tensor, radius: float) -> Tensor:
    """bool (S,): False where an earlier place lies within the radius, bandwidths."""
    near = torch.cdist(places, places) <= radius
    return ~near.tril(-1).any(1)


def _merge(modes: Tensor, counts: Tensor) -> Tensor:
    """Of modes within one bandwidth the fullest stays; fullest first, ties by coordinates."""
    places, full = modes.cpu().numpy(), counts.cpu().numpy()
    order = np.lexsort((*places.T, full))[::-1]
    places, alone = places[order], np.ones(len(order), bool)
    for i in range(len(places)):
        if alone[i]:
            alone[i + 1 :] &= np.square(places[i + 1 :] - places[i]).sum(1) > 1
    return modes[torch.from_numpy(order[alone].copy()).to(modes.device)]
