"""What a detector learns: boxes of the nuclei in a batch, and their masks on the grids of its regions."""

from __future__ import annotations

import torch
from torch import Tensor

from nucbook.targets.check import check


def region_masks(labels: Tensor, image: Tensor, boxes: Tensor, ids: Tensor, side: int) -> Tensor:
    """Which cells of each region lie in its nucleus: the label map, read at the centres of the cells.

    labels : int (B, H, W), 0 = background.
    image  : int64 (R,), the image of each region; boxes : float (R, 4), x and y of the first corner, then of
             the last, px, pixel i covering [i, i + 1]; ids : int (R,), the nucleus.
    Returns bool (R, side, side). Beyond the label map it goes on as at its border.
    """
    check(labels, 3)
    height, width = labels.shape[1:]
    step = (torch.arange(side, device=labels.device) + 0.5) / side
    first, size = boxes[:, :2, None], (boxes[:, 2:] - boxes[:, :2])[..., None]
    where = (first + size * step).floor().long()  # (R, 2, side)
    columns = where[:, 0].clamp(0, width - 1)[:, None, :]
    rows = where[:, 1].clamp(0, height - 1)[:, :, None]
    return labels[image[:, None, None], rows, columns] == ids[:, None, None]
