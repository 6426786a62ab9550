"""PanNuke: a fold is one array of pictures and one of masks, too large to hold in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.images import read_npy
from nucbook.sample import Sample

CLASSES = {1: "neoplastic", 2: "inflammatory", 3: "connective", 4: "dead", 5: "epithelial"}

_AGAIN = "unpack the fold again"


def read_fold(images: Path, masks: Path, types: Path) -> list[str]:
    """The tissue of each patch, after a look at the three files' shapes (no pixel is read).

    Raises UnreadableFile where one is broken or they do not fit together.
    """
    pictures, channels, tissue = (read_npy(path, mmap_mode="r") for path in (images, masks, types))
    if pictures.ndim != 4 or pictures.shape[3] != 3:
        raise UnreadableFile(images, f"shape {pictures.shape}, expected (N, H, W, 3)", _AGAIN)
    if channels.shape != (*pictures.shape[:3], 6):
        raise UnreadableFile(masks, f"shape {channels.shape} for pictures {pictures.shape}", _AGAIN)
    if tissue.shape != (len(pictures),):
        raise UnreadableFile(types, f"{tissue.size} tissues for {len(pictures)} pictures", _AGAIN)
    return [str(one) for one in tissue]


def read_patch(images: Path, masks: Path, index: int, name: str, mpp: float, meta: dict[str, Any]) -> Sample:
    """Patch `index` of a fold; the arrays are memory-mapped, so only its own bytes are read.

    The masks hold ids in five class channels (`CLASSES`, in this order) and the background in a sixth.
    The same id in two channels names two nuclei; a pixel in two channels goes to the later one, as in
    the released metric. Raises UnreadableFile for values that are no picture or no ids.
    """
    picture = np.asarray(read_npy(images, mmap_mode="r")[index])
    channels = np.asarray(read_npy(masks, mmap_mode="r")[index])
    colours = picture.astype(np.uint8)  # released as float64 of whole numbers
    if not np.array_equal(colours, picture):
        raise UnreadableFile(images, f"patch {index} does not hold 0..255 whole numbers", _AGAIN)
    instances, class_of = _merge(masks, channels[..., :5], index)
    return Sample(colours, instances, class_of=class_of, class_names=CLASSES, mpp=mpp, name=name, meta=meta)


def _merge(path: Path, channels: np.ndarray, index: int) -> tuple[np.ndarray, dict[int, int]]:
    ids = channels.astype(np.int64)  # released as float64 of whole numbers
    if not np.array_equal(ids, channels) or ids.min() < 0:
        raise UnreadableFile(path, f"patch {index} does not hold ids (whole numbers from 0)", _AGAIN)
    codes = np.zeros(ids.shape[:2], np.int64)  # one number for id and class
    for channel in range(len(CLASSES)):
        codes = np.where(ids[..., channel] > 0, ids[..., channel] * len(CLASSES) + channel, codes)
    found = np.unique(codes[codes > 0])
    instances = np.where(codes > 0, np.searchsorted(found, codes) + 1, 0).astype(np.int32)
    return instances, {i: int(code) % len(CLASSES) + 1 for i, code in enumerate(found, start=1)}
