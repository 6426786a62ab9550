"""Test-time augmentation: what a detector finds in an image and in its mirror images, put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torchvision.ops import box_iou

from nucbook.instances.boxes import Detections

FLIPS = ((), (0,), (1,), (0, 1))  # axes of an image (H, W, 3)
SAME = 0.5  # IoU from which two boxes are of one nucleus


def averaged(find: Callable[[np.ndarray], Detections], image: np.ndarray) -> Detections:
    """The detections of an image, averaged over it and its three mirror images.

    find : image uint8 (H, W, 3) -> its detections.

    Detections of one nucleus, one in each view, become one: boxes and masks are their means weighted by the
    scores, the score is their sum over the number of views. So what only one view shows loses its weight.
    """
    views = [_flipped(find(np.flip(image, axes)), axes) for axes in FLIPS]
    return merged(views)


def merged(views: list[Detections]) -> Detections:
    """Detections of several views of one image, put together as `averaged` says."""
    boxes, scores, masks = (
        np.concatenate([getattr(view, name) for view in views]) for name in ("boxes", "scores", "masks")
    )
    view = np.repeat(np.arange(len(views)), [len(own) for own in views])
    order = np.argsort(-scores, kind="stable")
    overlap = box_iou(*(torch.from_numpy(boxes),) * 2).numpy() if len(boxes) else np.zeros((0, 0))
    free = np.ones(len(boxes), bool)
    made: tuple[list, list, list] = ([], [], [])
    for i in order:
        if not free[i]:
            continue
        close = np.flatnonzero(free & (overlap[i] >= SAME))
        free[close] = False
        close = close[np.argsort(-scores[close], kind="stable")]
        close = close[np.unique(view[close], return_index=True)[1]]  # the best of each view
        weight = scores[close] / scores[close].sum()
        made[0].append(weight @ boxes[close])
        made[1].append(scores[close].sum() / len(views))
        made[2].append(np.tensordot(weight, masks[close], 1))
    if not made[0]:
        return views[0]
    joined = (np.stack(column).astype(np.float32) for column in made)
    return Detections(views[0].shape, *joined)


def _flipped(found: Detections, axes: tuple[int, ...]) -> Detections:
    """Detections of a mirrored image, in the image itself."""
    height, width = found.shape
    boxes, masks = found.boxes.copy(), found.masks
    if 1 in axes:
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
        masks = masks[:, :, ::-1]
    if 0 in axes:
        boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
        masks = masks[:, ::-1]
    return replace(found, boxes=boxes, masks=np.ascontiguousarray(masks))
