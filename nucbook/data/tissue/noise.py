"""Random fields: what the simulators draw textures from."""

from __future__ import annotations

import cv2
import numpy as np


def field(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """float32 `shape`, mean 0, deviation about 1, smooth over `scale` pixels."""
    height, width = shape
    if scale <= 1:
        return rng.standard_normal(shape, dtype=np.float32)
    rows, columns = int(height / scale) + 4, int(width / scale) + 4
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    row, column = rng.uniform(0.5, 1.5, 2)  # so that no image starts on a node
    window = np.array([[1 / scale, 0, column], [0, 1 / scale, row]], np.float32)
    # Interpolation averages neighbours, which lowers the deviation to about 0.75.
    cubic = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return 1.33 * cv2.warpAffine(coarse, window, (width, height), flags=cubic, borderMode=cv2.BORDER_REFLECT)


def octaves(rng: np.random.Generator, shape: tuple[int, int], scales: tuple[float, ...]) -> np.ndarray:
    """float32 `shape`: the sum of fields of several scales, deviation about 1.

    Equal strength at each octave is what tissue shows between 2 and 16 pixels.
    """
    total = field(rng, shape, scales[0])
    for scale in scales[1:]:
        total += field(rng, shape, scale)
    return total / np.sqrt(np.float32(len(scales)))


def fibres(rng, along: np.ndarray, across: np.ndarray, width: float, length: float) -> np.ndarray:
    """float32, deviation about 1: strands `width` px thick and `length` px long.

    along, across : float32 (H, W), coordinates of each pixel along and across the strands, px.
    """
    size = 256  # the texture repeats after 256 strands
    texture = rng.standard_normal((size, size), dtype=np.float32)
    u, v = along / length, across / width
    u -= np.floor(u.min() / size) * size
    v -= np.floor(v.min() / size) * size
    return 1.5 * cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def smoothstep(values: np.ndarray, start: float, end: float) -> np.ndarray:
    """0 up to `start`, 1 from `end` on, smooth between."""
    t = np.clip((values - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)
