"""What Mask R-CNN minimises: four losses of its boxes and one of its masks (He et al. 2017).

The weights are torchvision's: all one, the sides of a box by smooth L1 over all that was sampled.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

BEND = 1 / 9  # of smooth L1, in moves of a box: quadratic below, linear above


def objectness_loss(logits: Tensor, is_nucleus: Tensor) -> Tensor:
    """Cross-entropy of the sampled anchors, the mean.

    logits, is_nucleus : float (A,), the latter 0 or 1.
    Returns a scalar >= 0; 0 (with gradient) where no anchor was sampled.
    """
    error = F.binary_cross_entropy_with_logits(logits, is_nucleus, reduction="sum")
    return error / max(len(logits), 1)


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the sampled regions, the mean.

    logits : float (R, 2), background and nucleus; labels : int64 (R,), 1 = nucleus.
    Returns a scalar >= 0; 0 (with gradient) where no region was sampled.
    """
    return F.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)


def box_loss(moves: Tensor, targets: Tensor, sampled: int) -> Tensor:
    """How far the sides of boxes lie from those of their nuclei, smooth L1, over the `sampled` boxes.

    moves, targets : float (N, 4), of the boxes that are nuclei: shifts and logarithms of sizes, relative to
                     the box and scaled as torchvision's `BoxCoder` does.
    Returns a scalar >= 0; 0 (with gradient) where no box is a nucleus.
    """
    return F.smooth_l1_loss(moves, targets, beta=BEND, reduction="sum") / max(sampled, 1)


def mask_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of masks, the mean over cells, or over their weights.

    logits, target : (R, M, M); target 0 or 1, or between; weight : float (R, M, M) >= 0, or None for ones.
    Returns a scalar >= 0; 0 (with gradient) where there is no region.
    """
    error = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    if weight is None:
        return error.sum() / max(error.numel(), 1)
    return (error * weight).sum() / weight.sum().clamp(min=1e-6)
