"""What every target asks of a label map."""

from __future__ import annotations

import torch
from torch import Tensor


def check(labels: Tensor, dimensions: int):
    """Raises ValueError unless `labels` has so many dimensions, TypeError unless it holds whole numbers."""
    expected = "(B, H, W)" if dimensions == 3 else "(H, W)"
    if labels.ndim != dimensions:
        raise ValueError(f"labels are {tuple(labels.shape)}, expected {expected}.")
    if labels.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"labels are {labels.dtype}, expected whole numbers {expected}, one id per nucleus.")
