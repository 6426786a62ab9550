"""MATLAB label files of CoNSeP and Lizard: an instance map, and a class per instance."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
        names = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
        raise UnreadableFile(path, f"no inst_map in it, only {names}", "use the label files as released")
    try:
        instances = to_instances(content["inst_map"], name="inst_map")
    except InvalidSample as error:
        raise UnreadableFile(path, str(error).rstrip("."), "use the label files as released") from error
    return instances, _classes(content, instances, path)


def read_mat_classes(path: Path) -> np.ndarray:
    """The class of each instance alone (CoNSeP), without reading the maps; empty where there are none."""
    content = _load(path, variable_names=["inst_type"])
    return np.ravel(content.get("inst_type", [])).astype(int)


def _classes(content: Mapping[str, Any], instances: np.ndarray, path: Path) -> dict[int, int]:
    ids = np.unique(instances[instances > 0])
    if "class" in content and "id" in content:
        ids, classes = np.ravel(content["id"]), np.ravel(content["class"])
    elif "inst_type" in content:
        classes = np.ravel(content["inst_type"])
        if len(classes) != len(ids) and len(classes) == instances.max(initial=0):
            ids = np.arange(1, len(classes) + 1)  # a row was kept for an id without pixels
    elif np.shape(content.get("type_map", 0)) == instances.shape:
        class_at = np.zeros(instances.max(initial=0) + 1, np.int64)
        class_at[instances] = content["type_map"]  # any pixel of an instance has its class
        classes = class_at[ids]
    else:
        return {}
    if len(ids) != len(classes):
        reason = f"{len(classes)} classes for {len(ids)} instances"
        raise UnreadableFile(path, reason, "use the label files as released")
    return dict(zip(ids.astype(int).tolist(), classes.astype(int).tolist()))


def _load(path: Path, **options) -> dict[str, Any]:
    try:
        return loadmat(path, **options)
    except NotImplementedError as error:  # HDF5 inside
        raise UnreadableFile(path, "a MATLAB 7.3 file", "save it from MATLAB with the option -v7") from error
    except (MatReadError, zlib.error, *BROKEN) as error:
        raise UnreadableFile(path, f"no intact .mat file ({error})") from error
