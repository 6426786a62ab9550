"""Pseudo labels whose outlines are made worse on purpose: does a careful student then pay?"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from nucbook.targets import distance_maps


def jittered(labels: np.ndarray, jitter: int, generator: np.random.Generator) -> np.ndarray:
    """A label map in which every nucleus is grown or shrunk by a number of pixels of its own.

    labels : integer (H, W), 0 = background; jitter : px, the numbers are uniform from −jitter to jitter.

    Between two nuclei that grow, background goes to the nearer one. A nucleus that shrinks keeps its
    innermost pixels, so none is lost.
    """
    nuclei = labels > 0
    by = generator.integers(-jitter, jitter, int(labels.max(initial=0)) + 1, endpoint=True)
    depth = distance_maps(torch.from_numpy(labels.astype(np.int64))[None])[0].numpy()
    deepest = ndimage.maximum(depth, labels, np.arange(len(by)))
    stays = nuclei & ((depth > -by[labels]) | (depth == deepest[labels]))
    outside, (row, column) = ndimage.distance_transform_edt(~nuclei, return_indices=True)
    nearest = labels[row, column]
    return np.where(stays, labels, np.where(~nuclei & (outside <= by[nearest]), nearest, 0))
