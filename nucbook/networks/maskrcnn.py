"""Mask R-CNN: regions that may hold a nucleus, each with a box, a score and a mask (He et al. 2017).

It is put together from torchvision's parts. Its whole is made for photographs with few large things: it
enlarges an image to 800 px, keeps 100 detections, and pastes each mask into a map of the image's size. Here
sizes are those of nuclei, numbers of proposals and detections grow with the image's area, masks stay on
their grids, and `forward` returns what was predicted beside what it is compared with, so that losses are
computed in the training step, by pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import (
    RegionProposalNetwork,
    RPNHead,
    concat_box_prediction_layers,
)
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

from nucbook.networks.encoder import build_encoder

SMALLEST, LARGEST = 8, 64  # px, sides of anchors
RATIOS = (0.5, 1.0, 2.0)  # of an anchor's height to its width
COARSER = 32  # px, side of a box from which its features are read at stride 8, then doubled with the stride
PROPOSAL = 100  # px of an image's area to each proposal
DETECTION = 200  # px to each detection; a crowded 1000² image of MoNuSeg has 540 to each nucleus
SAMPLE = 128  # px to each proposal that trains the heads: torchvision's 512 in 256², enlarged to 800²
BOX, GRID = 7, 14  # cells, sides of the grids that boxes and masks are predicted from
MASK = 28  # cells, side of a predicted mask


class Truth(NamedTuple):
    """The nuclei that a batch's images hold.

    boxes : for each image float (N, 4), x and y of the first corner, then of the last, px.
    ids   : for each image int64 (N,), of the same nuclei in its label map.
    known : bool (B, H, W), False where nuclei may lie that are not among them.
    """

    boxes: Sequence[Tensor]
    ids: Sequence[Tensor]
    known: Tensor


class Regions(NamedTuple):
    """Boxes in the images of a batch.

    image : int64 (R,), which one; boxes : float (R, 4), px, as in `Truth`; ids : int64 (R,), the nucleus.
    """

    image: Tensor
    boxes: Tensor
    ids: Tensor


class Predicted(NamedTuple):
    """What is predicted of a batch in training, each beside its target. A anchors and R regions are sampled.

    objectness, is_nucleus       : float (A,), logits and 0 or 1.
    anchor_moves, anchor_targets : float (A⁺, 4), from the anchors that are nuclei to their boxes.
    logits, labels               : float (R, 2) and int64 (R,), 1 = nucleus.
    moves, targets               : float (R⁺, 4), from the regions that are nuclei to their boxes.
    regions                      : those R⁺ regions.
    masks                        : by head, logits (R⁺, M, M) of the nucleus, and what else a head gives.
    """

    objectness: Tensor
    is_nucleus: Tensor
    anchor_moves: Tensor
    anchor_targets: Tensor
    logits: Tensor
    labels: Tensor
    moves: Tensor
    targets: Tensor
    regions: Regions
    masks: dict[str, Tensor]


class Found(NamedTuple):
    """What is found in one image: boxes (N, 4), px; scores (N,); masks (N, M, M), probabilities."""

    boxes: Tensor
    scores: Tensor
    masks: Tensor


class Proposals(RegionProposalNetwork):
    """torchvision's region proposal network, which keeps a given number of proposals."""

    most: int = 0

    def pre_nms_top_n(self) -> int:
        """Of each scale, before overlapping ones are dropped."""
        return 2 * self.most

    def post_nms_top_n(self) -> int:
        """Of all scales, afterwards."""
        return self.most


class MaskRCNN(nn.Module):
    """Mask R-CNN with a feature pyramid, one class: nucleus.

    encoder   : name of the encoder, `levels` of its scales; the pyramid takes those from stride 4 on.
    width     : channels of the pyramid and of the mask head.
    box_width : of the two layers that classify a box and move its sides.
    scale     : images are enlarged by it before the encoder sees them; boxes are in their own pixels.
    sample    : px of an image's area to each proposal that trains the heads.

    `forward(image, truth)` returns `Predicted`; `forward(image)` a `Found` for each image. Takes images in
    [0, 1], float (B, 3, H, W), of any size.
    """

    def __init__(
        self,
        encoder: str = "resnet50",
        levels: int = 5,
        width: int = 256,
        box_width: int = 1024,
        scale: float = 1.0,
        sample: int = SAMPLE,
    ):
        super().__init__()
        self.width, self.scale, self.sample = width, scale, sample
        self.encoder = build_encoder(encoder, levels)
        channels = list(self.encoder.channels[1:])
        self.names = [str(i) for i in range(len(channels))]
        self.pyramid = FeaturePyramidNetwork(channels, width)
        sizes = np.geomspace(SMALLEST * scale, LARGEST * scale, 2 * len(channels)).reshape(-1, 2)
        anchors = AnchorGenerator(tuple(map(tuple, sizes.tolist())), (RATIOS,) * len(channels))
        per_cell = anchors.num_anchors_per_location()[0]
        of_all = {"training": 0, "testing": 0}
        self.rpn = Proposals(anchors, RPNHead(width, per_cell), 0.7, 0.3, 256, 0.5, of_all, of_all, 0.7)
        self.roi = RoIHeads(
            self.pool(BOX),
            TwoMLPHead(width * BOX**2, box_width),
            FastRCNNPredictor(box_width, 2),
            *(0.5, 0.5, 0, 0.25, None),  # IoU of a nucleus, samples (set by area), fraction of nuclei
            *(0.0, 0.5, 0),  # score (a field of `forward`), IoU of duplicates, detections (set by area)
        )
        self.mask_pool = self.pool(GRID)
        self.mask_head = nn.Sequential(*MaskRCNNHeads(width, [width] * 4, 1))
        self.mask_predictor = MaskRCNNPredictor(width, width, 1)

    def pool(self, side: int) -> MultiScaleRoIAlign:
        """RoIAlign to `side`² cells, read at their centres, at the scale that suits each box."""
        return MultiScaleRoIAlign(
            self.names, side, 1, canonical_scale=round(COARSER * self.scale), canonical_level=3
        )

    def forward(
        self, image: Tensor, truth: Truth | None = None, score: float = 0.05, head: str = "mask"
    ) -> Predicted | list[Found]:
        """`Predicted` where the truth is known, else what scores at least `score` in each image.

        head : of those in `masks`, whose masks are read.
        """
        height, width = image.shape[-2:]
        features, images = self.features(image)
        maps = list(features.values())
        objectness, moves = self.rpn.head(maps)
        anchors = self.rpn.anchor_generator(images, maps)
        of_scale = [scores[0].numel() for scores in objectness]
        objectness, moves = (t.float() for t in concat_box_prediction_layers(list(objectness), list(moves)))
        boxes = self.rpn.box_coder.decode(moves.detach(), anchors).view(len(image), -1, 4)
        self.rpn.most = _number(height * width, PROPOSAL)
        proposals, _ = self.rpn.filter_proposals(boxes, objectness, images.image_sizes, of_scale)
        if truth is None:
            return self.found(features, images, proposals, score, _number(height * width, DETECTION), head)

        true = [
            {"boxes": boxes * self.scale, "labels": torch.ones_like(ids)}
            for boxes, ids in zip(truth.boxes, truth.ids)
        ]
        chosen = self._anchors(anchors, objectness.flatten(), moves, true, truth.known)
        return Predicted(**chosen, **self._regions(features, images, proposals, true, truth))

    def features(self, image: Tensor) -> tuple[dict[str, Tensor], ImageList]:
        """The pyramid's maps by name, finest first, and the images as the network sees them.

        Enlarged, and padded to what the encoder's strides divide.
        """
        height, width = (round(side * self.scale) for side in image.shape[-2:])
        if self.scale != 1:
            image = F.interpolate(image, size=(height, width), mode="bilinear", align_corners=False)
        stride = self.encoder.stride
        padded = F.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")
        maps = self.pyramid(dict(zip(self.names, self.encoder(padded)[1:])))
        return maps, ImageList(padded, [(height, width)] * len(image))

    def masks(self, features: dict[str, Tensor], boxes: list[Tensor], images: ImageList) -> dict[str, Tensor]:
        """What the mask heads give of some boxes; "mask": logits (R, 28, 28) of the nucleus.

        boxes : for each image (N, 4), in pixels of the enlarged image.
        """
        regions = self.mask_pool(features, boxes, extents(images))
        return {"mask": self.mask_predictor(self.mask_head(regions))[:, 0]}

    # -- parts of forward -------------------------------------------------------------------

    def _anchors(
        self, anchors: list[Tensor], objectness: Tensor, moves: Tensor, true: list, known: Tensor
    ) -> dict[str, Any]:
        """The first four fields of `Predicted`; background where truth is unknown is not sampled."""
        labels, matched = self.rpn.assign_targets_to_anchors(anchors, true)
        for own, label, seen in zip(anchors, labels, known):
            label[(label == 0) & ~self._inside(own, seen)] = -1
        targets = torch.cat(self.rpn.box_coder.encode(matched, anchors))
        positive, negative = (torch.cat(chosen).bool() for chosen in self.rpn.fg_bg_sampler(labels))
        sampled = positive | negative
        return {
            "objectness": objectness[sampled],
            "is_nucleus": positive[sampled].float(),
            "anchor_moves": moves[positive],
            "anchor_targets": targets[positive],
        }

    def _regions(
        self,
        features: dict[str, Tensor],
        images: ImageList,
        proposals: list[Tensor],
        true: list[dict[str, Tensor]],
        truth: Truth,
    ) -> dict[str, Any]:
        """The other fields of `Predicted`."""
        self.roi.fg_bg_sampler.batch_size_per_image = _number(truth.known[0].numel(), self.sample)
        usable = [own[self._inside(own, seen)] for own, seen in zip(proposals, truth.known)]
        proposals, matches, labels, targets = self.roi.select_training_samples(usable, true)
        logits, moves = self._boxes(features, proposals, images)
        nuclei = [label > 0 for label in labels]
        boxes = [own[chosen] for own, chosen in zip(proposals, nuclei)]
        ids = [own[match[chosen]] for own, match, chosen in zip(truth.ids, matches, nuclei)]
        image = [torch.full_like(own, i) for i, own in enumerate(ids)]
        regions = Regions(torch.cat(image), torch.cat(boxes) / self.scale, torch.cat(ids))
        chosen = torch.cat(nuclei)
        return {
            "logits": logits,
            "labels": torch.cat(labels),
            "moves": moves[chosen, 4:],
            "targets": torch.cat(targets)[chosen],
            "regions": regions,
            "masks": self.masks(features, boxes, images),
        }

    def _boxes(
        self, features: dict[str, Tensor], boxes: list[Tensor], images: ImageList
    ) -> tuple[Tensor, Tensor]:
        """Logits (R, 2) of background and nucleus, and moves (R, 8) of the sides for either."""
        regions = self.roi.box_roi_pool(features, boxes, extents(images))
        logits, moves = self.roi.box_predictor(self.roi.box_head(regions))
        return logits.float(), moves.float()

    def found(
        self,
        features: dict[str, Tensor],
        images: ImageList,
        proposals: list[Tensor],
        score: float,
        most: int,
        head: str,
    ) -> list[Found]:
        """What scores at least `score` in each image, `most` at most, best first."""
        self.roi.score_thresh, self.roi.detections_per_img = score, most
        sizes = images.image_sizes
        boxes, scores, _ = self.roi.postprocess_detections(
            *self._boxes(features, proposals, images), proposals, sizes
        )
        counts = [len(own) for own in boxes]
        masks = self.masks(features, boxes, images)[head].float().sigmoid().split(counts)
        return [Found(*own) for own in zip([own / self.scale for own in boxes], scores, masks)]

    def _inside(self, boxes: Tensor, known: Tensor) -> Tensor:
        """Which boxes (N, 4), in pixels of the enlarged image, have their centre where truth is known."""
        centres = ((boxes[:, :2] + boxes[:, 2:]) / (2 * self.scale)).long()
        columns, rows = centres[:, 0], centres[:, 1]
        height, width = known.shape
        return known[rows.clamp(0, height - 1), columns.clamp(0, width - 1)]


def extents(images: ImageList) -> list[tuple[int, int]]:
    """(H, W) of each image with its padding: what a pool infers the strides of the maps from."""
    height, width = images.tensors.shape[-2:]
    return [(height, width)] * len(images.image_sizes)


def _number(area: int, of: int) -> int:
    """How many an image of `area` px holds at most, one to each `of` px; 16 at least."""
    return max(16, area // of)
