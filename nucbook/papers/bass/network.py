"""The student: Mask R-CNN with two more mask heads beside the naive one (Zhang et al. 2024, Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList

from nucbook.networks.maskrcnn import MASK, MaskRCNN, extents

SHARED = 3  # convolutions of the naive head that the low-resolution one starts from
EMBEDDING = 64  # dimensions in which cells are compared


class Student(MaskRCNN):
    """Mask R-CNN whose masks come from up to three heads.

    heads          : "nmh"  naive mask head, 28² cells, as Mask R-CNN has it,
                     "lrd"  low-resolution denoising head, 14² cells,
                     "crc"  cross-RoI contrast head, 28² cells from features that are read as finely.
    contrast_width : channels of the last.
    rois           : regions of a batch, at most, that it sees in training, drawn at random.

    The logits of several heads are put together by a learned 1×1 convolution, as in the released code; it
    begins as their mean.
    """

    def __init__(
        self,
        heads: Sequence[str] = ("nmh", "lrd", "crc"),
        contrast_width: int = 64,
        rois: int = 128,
        **maskrcnn,
    ):
        super().__init__(**maskrcnn)
        if not heads or set(heads) - {"nmh", "lrd", "crc"}:
            raise ValueError(f"heads {tuple(heads)!r}; choose one or more of 'nmh', 'lrd', 'crc'.")
        self.heads, self.rois = tuple(heads), rois
        width = self.width
        if "nmh" not in heads:  # what nothing would train
            del self.mask_predictor
            self.mask_head = self.mask_head[: SHARED if "lrd" in heads else 0]
        if "lrd" in heads:
            self.lrd = nn.Sequential(*_convolutions(width, width, 2), nn.Conv2d(width, 1, 1))
        if "crc" in heads:
            self.crc_pool = self.pool(MASK)
            self.crc = nn.Sequential(*_convolutions(width, contrast_width, 3))
            self.crc_logit = nn.Conv2d(contrast_width, 1, 1)
            self.projector = nn.Sequential(
                nn.Conv2d(contrast_width, contrast_width, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(contrast_width, EMBEDDING, 1),
            )
        if len(heads) > 1:
            self.fusion = nn.Conv2d(len(heads), 1, 1)
            nn.init.constant_(self.fusion.weight, 1 / len(heads))

    def masks(self, features: dict[str, Tensor], boxes: list[Tensor], images: ImageList) -> dict[str, Tensor]:
        """What the heads give of R boxes: logits of the nucleus, float.

        boxes : for each image (N, 4), in pixels of the enlarged image.

        Returns "nmh" (R, 28, 28) and "lrd" (R, 14, 14); "rows", int64 (R',), of the regions that CRC has
        seen: all of them but in training; "crc" and "mask", the fused logits, (R', 28, 28), "embeddings"
        (R', 64, 28, 28) of their cells.
        """
        total = sum(len(own) for own in boxes)
        rows = torch.arange(total, device=features["0"].device)
        made: dict[str, Tensor] = {}
        if set(self.heads) != {"crc"}:
            shared = self.mask_head[:SHARED](self.mask_pool(features, boxes, extents(images)))
            if "nmh" in self.heads:
                made["nmh"] = self.mask_predictor(self.mask_head[SHARED:](shared))[:, 0]
            if "lrd" in self.heads:
                made["lrd"] = self.lrd(shared)[:, 0]
        if "crc" in self.heads:
            if self.training and total > self.rois:
                chosen = torch.randperm(total)[: self.rois].sort().values.to(rows.device)
                boxes = [own[of] for own, of in zip(boxes, _split(chosen, boxes))]
                rows = chosen
            cells = self.crc(self.crc_pool(features, boxes, extents(images)))
            made["crc"] = self.crc_logit(cells)[:, 0]
            if self.training:
                made["embeddings"] = self.projector(cells)
        made["rows"] = rows
        logits = [made[head] if head == "crc" else made[head][rows] for head in self.heads]
        large = [_enlarged(own) for own in logits]
        made["mask"] = self.fusion(torch.stack(large, 1))[:, 0] if len(large) > 1 else large[0]
        return made


def _convolutions(inward: int, outward: int, count: int) -> list[nn.Module]:
    """3×3 convolutions with ReLU, weights as Mask R-CNN's mask head has them."""
    layers: list[nn.Module] = []
    for i in range(count):
        convolution = nn.Conv2d(inward if i == 0 else outward, outward, 3, padding=1)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.ReLU(inplace=True)]
    return layers


def _enlarged(logits: Tensor) -> Tensor:
    """Logits (R, m, m) on a grid of 28² cells."""
    if logits.shape[-1] == MASK:
        return logits
    return F.interpolate(logits[:, None], size=(MASK, MASK), mode="bilinear", align_corners=False)[:, 0]


def _split(rows: Tensor, boxes: Sequence[Tensor]) -> list[Tensor]:
    """Ascending rows of all boxes together, as rows of each image's own."""
    ends = torch.tensor([len(own) for own in boxes]).cumsum(0).tolist()
    first = [0, *ends[:-1]]
    return [rows[(rows >= low) & (rows < high)] - low for low, high in zip(first, ends)]
