"""MATLAB label files of CoNSeP and Lizard: an instance map, and a class per instance."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.images import BROKEN
from nucbook.sample import InvalidSample, to_instances


def read_mat(path: Path) -> tuple[np.ndarray, dict[int, int]]:
    """Instance map int32 (H, W), and {instance id: class id}, as the file numbers them.

    CoNSeP lists `inst_type` in the order of the ids; Lizard lists `id` beside `class`, in an order
    of its own. Without either, classes are read from `type_map` by the pixels of each instance, and
    without that there are none.
    Raises UnreadableFile for a broken file, one without `inst_map`, or columns of unequal length.
    """
    content = _load(path)
    if "inst_map" not in content:
        names = sorted(name for name in content if not name.startswith("__"))
        raise UnreadableFile(path, f"no inst_map in it, only {names}", "use the label files as released")
    try:
        instances = to_instances(content["inst_map"], name=str(path))
    except InvalidSample as error:
        raise UnreadableFile(path, f"inst_map: {error}") from error
    return instances, _classes(content, instances, path)


def read_mat_classes(path: Path) -> np.ndarray:
    """The class of each instance alone, without reading the maps; empty where the file has none."""
    content = _load(path, variable_names=["inst_type", "class"])
    return np.concatenate([np.ravel(content[key]) for key in ("inst_type", "class") if key in content] or [[]]).astype(int)


def _classes(content: Mapping, instances: np.ndarray, path: Path) -> dict[int, int]:
    ids = np.unique(instances)
    ids = ids[ids > 0]
    if "class" in content and "id" in content:
        ids, classes = np.ravel(content["id"]), np.ravel(content["class"])
    elif "inst_type" in content:
        classes = np.ravel(content["inst_type"])
        if len(classes) != len(ids) and len(classes) == instances.max():
            ids = np.arange(1, len(classes) + 1)            # a row was kept for an id without pixels
    elif "type_map" in content:
        type_map = np.asarray(content["type_map"])
        rows = np.zeros(instances.max() + 1, np.int64)
        rows[instances] = type_map                          # any pixel of an instance has its class
        classes = rows[ids]
    else:
        return {}
    if len(ids) != len(classes):
        raise UnreadableFile(path, f"{len(classes)} classes for {len(ids)} instances", "use the label files as released")
    return dict(zip(ids.astype(int).tolist(), classes.astype(int).tolist()))


def _load(path: Path, **options) -> Mapping:
    try:
        return loadmat(path, **options)
    except NotImplementedError as error:                    # HDF5 inside: MATLAB 7.3
        raise UnreadableFile(path, "a MATLAB 7.3 file", "save it with the option -v7") from error
    except (MatReadError, zlib.error, *BROKEN) as error:
        raise UnreadableFile(path, f"no intact .mat file ({error})") from error
