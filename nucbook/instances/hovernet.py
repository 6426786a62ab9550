"""HoVer-Net's way from maps to nuclei: where the HV maps fall off, a nucleus ends (Graham et al. 2019).

Within a nucleus the HV maps climb evenly, from -1 at its left and upper boundary to 1 at its right and lower
one. Where two nuclei touch they fall from 1 to -1. Markers are what is left of the foreground without these
falls; flooding from all markers at once gives the foreground back to them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike
from skimage.segmentation import watershed

from nucbook.instances.components import numbered

FOREGROUND = 0.5  # probability from which a pixel is nucleus
KERNEL = 21  # px, side of the Sobel kernel
BOUNDARY = 0.4  # 1 − `climb`, in [0, 1], from which a pixel is no marker
MIN_AREA = 10  # px; smaller components of the foreground, and smaller markers, are dropped
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)  # a pixel and those at its sides
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))


def decode(probability: ArrayLike, hv: ArrayLike) -> np.ndarray:
    """The nuclei of one image, by the steps and thresholds of HoVer-Net's released code.

    probability : float (H, W), of nucleus.
    hv          : float (2, H, W), horizontal and vertical map, as in `targets.hv_maps`.
    Returns int32 (H, W), ids 1 to N. A component of the foreground without a marker is dropped; so is
    everything where the HV maps are flat.
    Raises ValueError for maps that do not fit together, or are not finite.

    Slopes are scaled by their extremes in the image, so what is found in one place depends on what else
    the image shows: a small nucleus that the border cuts climbs steeply, and beside it large ones may
    seem flat and be lost. Holes of a marker are filled, holes of the foreground stay.
    """
    probability, hv = np.asarray(probability, np.float32), np.asarray(hv, np.float32)
    if probability.ndim != 2 or hv.shape != (2, *probability.shape):
        raise ValueError(f"probability is {probability.shape}, hv {hv.shape}; expected (H, W) and (2, H, W).")
    for name, values in (("probability", probability), ("hv", hv)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is not finite everywhere; look at what the network gave.")
    mask = probability >= FOREGROUND
    if not mask.any():  # or has no pixel at all: OpenCV would crash
        return np.zeros(mask.shape, np.int32)
    components = numbered(mask, MIN_AREA)
    foreground = components > 0
    inner = climb(hv) * foreground
    markers = _filled((foreground & (1 - inner < BOUNDARY)).view(np.uint8))
    markers = numbered(cv2.morphologyEx(markers, cv2.MORPH_OPEN, _DISC), MIN_AREA) * foreground
    return _in_order(_flood(-cv2.GaussianBlur(inner, (3, 3), 0), markers, components))


def decode_batch(probability: np.ndarray, hv: np.ndarray) -> np.ndarray:
    """`decode` for a batch, the images in threads.

    probability : float (B, H, W); hv : float (B, 2, H, W).
    Returns int32 (B, H, W), ids 1 to N_i in each image.
    Raises ValueError as `decode` does, and names the image.
    """
    if len(probability) != len(hv):
        raise ValueError(f"probability has {len(probability)} images, hv {len(hv)}; give both of each image.")

    def one(number: int) -> np.ndarray:
        try:
            return decode(probability[number], hv[number])
        except ValueError as error:
            raise ValueError(f"image {number}: {error}") from error

    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        return np.array(list(pool.map(one, range(len(hv)))), np.int32).reshape(np.shape(probability))


def climb(hv: np.ndarray) -> np.ndarray:
    """How the HV maps rise, float32 (H, W) in [0, 1]: 0 where one of them falls most steeply in the image.

    hv : float32 (2, H, W), horizontal and vertical map.

    The smaller of the two slopes, by a Sobel kernel of 21 px, each stretched to its extremes in this image.
    """
    return np.minimum(_slope(hv[0], 1, 0), _slope(hv[1], 0, 1))


def _slope(values: np.ndarray, right: int, down: int) -> np.ndarray:
    """float32 (H, W) in [0, 1]: 0 at the steepest fall in the image, 1 at the steepest climb."""
    return _unit(cv2.Sobel(_unit(values), cv2.CV_32F, right, down, ksize=KERNEL))


def _unit(values: np.ndarray) -> np.ndarray:
    """Stretched to [0, 1]; 0 everywhere where they are all the same."""
    # The stub has no `dst=None`, by which OpenCV makes a new array.
    return cv2.normalize(values, None, 0, 1, cv2.NORM_MINMAX, cv2.CV_32F)  # type: ignore[call-overload]


def _filled(mask: np.ndarray) -> np.ndarray:
    """A uint8 mask with what cannot be reached from the border of the image, over sides of pixels."""
    outside = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    cv2.floodFill(outside, None, (0, 0), 2, flags=4)
    return (outside[1:-1, 1:-1] != 2).view(np.uint8)


def _flood(height: np.ndarray, markers: np.ndarray, components: np.ndarray) -> np.ndarray:
    """The watershed of `height` from `markers` in `components`, all (H, W), int32.

    A component with a single marker belongs to it whatever the heights, so water flows in the others only.
    There it starts from the shores of the markers: within a marker it has nowhere to go.
    """
    marked = markers > 0
    of, marker = components[marked], markers[marked]
    owner = np.zeros(components.max() + 1, np.int32)
    owner[of] = marker  # one of several
    shared = np.zeros(len(owner), bool)
    shared[of[owner[of] != marker]] = True
    labels = owner[components]
    contested = shared[components]
    dry = contested & ~marked
    if dry.any():
        wet = contested & (dry | (cv2.dilate(dry.view(np.uint8), _CROSS) > 0))
        labels[dry] = watershed(height, markers, mask=wet)[dry]
    labels[marked] = marker
    return labels


def _in_order(labels: np.ndarray) -> np.ndarray:
    """The same instances with ids 1 to N, without gaps."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    return np.where(present, np.cumsum(present), 0).astype(np.int32)[labels]
