"""Connected pieces of a mask, the small ones left out."""

from __future__ import annotations

import cv2
import numpy as np


def numbered(mask: np.ndarray, area: int) -> np.ndarray:
    """int32 (H, W): the 4-connected pieces of a mask, 1 to N; those of fewer than `area` px are 0."""
    pieces, keep = _pieces(mask, area)
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[pieces]


def without_small(mask: np.ndarray, area: int) -> np.ndarray:
    """A mask, bool (H, W), without its 4-connected pieces of fewer than `area` px."""
    pieces, keep = _pieces(mask, area)
    return keep[pieces]


def _pieces(mask: np.ndarray, area: int) -> tuple[np.ndarray, np.ndarray]:
    """All pieces, int32 (H, W), and which of them are large enough; the background is not."""
    _, pieces, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = facts[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    return pieces, keep
