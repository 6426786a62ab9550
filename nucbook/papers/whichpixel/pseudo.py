"""Pseudo labels that give way to the truth where a window was annotated (Lou et al. 2022, Sec. III-C)."""

from __future__ import annotations

import numpy as np
from skimage.segmentation import relabel_sequential

from nucbook.sample import Sample


def with_truth(found: np.ndarray, known: Sample | None) -> np.ndarray:
    """The nuclei that a network found, and in annotated pixels the true ones; int32 (H, W), ids from 1 on.

    found : int (H, W); known : the sample with what is annotated of it, or None.

    A found nucleus that lies partly in the annotated region loses that part. What is left of it outside
    belongs to the true nucleus that shares most pixels with the lost part, for the border of a window cuts
    nuclei; where there is none, it stands alone.
    """
    if known is None:
        return relabel_sequential(found)[0].astype(np.int32)
    inside = np.ones(found.shape, bool) if known.annotated is None else known.annotated
    truth = relabel_sequential(np.where(inside, known.label_map, 0))[0]
    first = int(truth.max()) + 1
    owner = np.arange(int(found.max()) + 1) + first  # of what is left of a found nucleus
    pairs = np.stack([found[inside], truth[inside]], 1)
    pairs, shared = np.unique(pairs[(pairs > 0).all(1)], axis=0, return_counts=True)
    order = np.argsort(shared, kind="stable")  # the largest share is written last
    owner[pairs[order, 0]] = pairs[order, 1]
    owner[0] = 0
    return relabel_sequential(np.where(inside, truth, owner[found]))[0].astype(np.int32)
