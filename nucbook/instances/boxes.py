"""Boxes and masks to nuclei: what a detector finds in its regions, painted into the image.

A detector predicts each mask on a grid of its own, stretched over the box. A pixel takes the mask's
probability at its centre, linear between the grid's cells. Masks are never pasted into maps of the image's
size: 1,862 nuclei in a 1000² image would take 7.4 GB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from nucbook.nuclei import Nuclei


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector finds in an image.

    shape  : (H, W) of the image, pixels.
    boxes  : float32 (N, 4), x and y of the first corner, then of the last; pixel i covers [i, i + 1].
    scores : float32 (N,), probability that the box holds a nucleus.
    masks  : float32 (N, M, M), probability of the nucleus on a grid that spans the box.
    """

    shape: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows) -> Detections:
        """Some rows: a slice, indices, or a bool per row."""
        return Detections(self.shape, self.boxes[rows], self.scores[rows], self.masks[rows])


def decode(found: Detections, threshold: float = 0.5) -> Nuclei:
    """The nuclei of an image, one for each detection, in their order.

    threshold : probability from which a pixel of a box belongs to its nucleus.

    A contested pixel goes to the detection whose mask is surer of it, of equal ones to the earlier. So masks
    do not overlap, but for one case: a detection that is left without a pixel keeps the one that it is
    surest of, and none is lost. Boxes of the result are those of the masks.
    """
    surest = np.full(found.shape, np.float32(threshold))
    owner = np.full(found.shape, -1, np.int32)
    windows = _windows(found)
    drawn = []
    for i, (top, left, bottom, right) in enumerate(windows.tolist()):
        probability = _stretched(found.masks[i], found.boxes[i], (top, left, bottom, right))
        drawn.append(probability)
        own, before = owner[top:bottom, left:right], surest[top:bottom, left:right]
        wins = (probability > before) | ((probability == before) & (own < 0))
        own[wins], before[wins] = i, probability[wins]
    boxes, masks = windows.copy(), []
    for i, (top, left, bottom, right) in enumerate(windows.tolist()):
        mask = owner[top:bottom, left:right] == i
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            row, column = np.unravel_index(drawn[i].argmax(), mask.shape)
            rows, columns = np.array([row]), np.array([column])
            mask = np.ones_like(mask)
        first, last = (rows[0], columns[0]), (rows[-1] + 1, columns[-1] + 1)
        boxes[i] = top + first[0], left + first[1], top + last[0], left + last[1]
        masks.append(mask[first[0] : last[0], first[1] : last[1]])
    return Nuclei(found.shape, boxes, masks, found.scores)


def _windows(found: Detections) -> np.ndarray:
    """The pixels whose centres a box holds, int32 (N, 4): first row and column, last + 1; one at least."""
    height, width = found.shape
    size = np.array([width, height, width, height])
    boxes = np.clip(found.boxes.astype(np.float64), 0, size)
    first, last = np.ceil(boxes[:, :2] - 0.5), np.floor(boxes[:, 2:] - 0.5) + 1
    middle = np.clip(np.floor((boxes[:, :2] + boxes[:, 2:]) / 2), 0, size[:2] - 1)
    thin = last <= first
    first, last = np.where(thin, middle, first), np.where(thin, middle + 1, last)
    return np.concatenate([first[:, ::-1], last[:, ::-1]], 1).astype(np.int32).reshape(-1, 4)


def _stretched(mask: np.ndarray, box: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """A mask's probability at the centres of a window's pixels, float32 (h, w)."""
    top, left, bottom, right = window
    x, y, x_end, y_end = box.tolist()
    # From a pixel of the window to a cell of the grid, both counted by their centres.
    across, down = mask.shape[1] / max(x_end - x, 1e-6), mask.shape[0] / max(y_end - y, 1e-6)
    to_grid = np.array(
        [[across, 0, (left + 0.5 - x) * across - 0.5], [0, down, (top + 0.5 - y) * down - 0.5]]
    )
    return cv2.warpAffine(
        mask,
        to_grid,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
