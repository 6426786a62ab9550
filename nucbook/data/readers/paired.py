"""A picture and a label picture of the same name (TNBC, MoNuSeg's label maps, CryoNuSeg's masks)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from nucbook.data.readers.images import read_array, read_labels, read_rgb
from nucbook.sample import Sample


def read_pair(image: Path, labels: Path, name: str, mpp: float | None, meta: dict[str, Any]) -> Sample:
    """A picture and its label map, one id per nucleus.

    Raises UnreadableFile for broken files.
    """
    return Sample(read_rgb(image), read_labels(labels), mpp=mpp, name=name, meta=meta)


def read_pair_of_mask(image: Path, mask: Path, name: str, mpp: float | None, meta: dict[str, Any]) -> Sample:
    """A picture and either its label map or its foreground mask, where nuclei do not touch.

    TNBC is released as masks of two values whose 8-connected components are the nuclei, and
    redistributed as label maps: a single value of 1 or 255 beside 0 means a mask.
    Raises UnreadableFile for broken files.
    """
    raw = read_array(mask, indices=True)
    plane = raw if raw.ndim == 2 else raw[..., 0]
    if plane.dtype == bool or set(np.unique(plane)) - {0} in ({1}, {255}):
        instances, _ = ndimage.label(plane, structure=np.ones((3, 3)))
        return Sample(read_rgb(image), instances.astype(np.int32), mpp=mpp, name=name, meta=meta)
    return read_pair(image, mask, name, mpp, meta)
