"""Connected components of a mask, the small ones left out."""

from __future__ import annotations

import cv2
import numpy as np


def numbered(mask: np.ndarray, area: int) -> np.ndarray:
    """int32 (H, W): the 4-connected components of a mask, 1 to N; those of fewer than `area` px are 0."""
    components, keep = _components(mask, area)
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[components]


def without_small(mask: np.ndarray, area: int) -> np.ndarray:
    """A mask, bool (H, W), without its 4-connected components of fewer than `area` px."""
    components, keep = _components(mask, area)
    return keep[components]


def _components(mask: np.ndarray, area: int) -> tuple[np.ndarray, np.ndarray]:
    """All components, int32 (H, W), and which of them are large enough; the background is not."""
    _, components, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = facts[:, cv2.CC_STAT_AREA] >= area
    keep[0] = False
    return components, keep
