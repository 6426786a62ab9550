"""From what the two networks predict to nuclei (Liu et al. 2022, Sec. 2.1, model inference)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from skimage.measure import label
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.data.patches import grid
from nucbook.instances.components import without_small
from nucbook.instances.meanshift import mean_shift
from nucbook.instances.mosaic import mosaic
from nucbook.papers.weaknucleiseg.config import Config
from nucbook.papers.weaknucleiseg.labels import filled

AT_ONCE = 8  # windows in one pass of the network


@dataclass(frozen=True)
class RawOutput:
    """What the networks predict for one image.

    probability : float32 (H, W), of nucleus.
    windows     : first row and column of each window.
    embeddings  : float32 (windows, D, h, w), on the device of the network; None without a second network.
    """

    probability: np.ndarray
    windows: list[tuple[int, int]]
    embeddings: Tensor | None


def maps(models: Mapping[str, nn.Module], image: Tensor, config: Config) -> list[RawOutput]:
    """What the networks predict for images float (B, 3, H, W) in [0, 1].

    Embeddings are read in windows of the size the network learnt from, since a pixel's place in the
    window is part of them.
    """
    probability = models["spn"](image).float().softmax(1)[:, 1].cpu().numpy()
    if "ien" not in models:
        return [RawOutput(one, [], None) for one in probability]
    side = config.crop
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, max(side - width, 0), 0, max(side - height, 0)), value=1.0)
    windows = list(grid((height, width), side, min(config.overlap, side // 2)))
    raw = []
    for own, pixels in zip(probability, padded):
        crops = torch.stack([pixels[:, r : r + side, c : c + side] for r, c in windows])
        crops = crops.contiguous(memory_format=torch.channels_last)
        embeddings = torch.cat([models["ien"](some).float() for some in crops.split(AT_ONCE)])
        raw.append(RawOutput(own, windows, embeddings))
    return raw


def decode(raw: RawOutput, config: Config) -> np.ndarray:
    """The nuclei of one image, int32 (H, W).

    Without embeddings, connected components of the foreground. With them, clusters of the embeddings, window
    by window, put together by `nucbook.instances.mosaic`: no pixel that a window kept is lost.
    """
    foreground = filled(without_small(raw.probability >= config.threshold, config.min_area).view(np.uint8))
    if raw.embeddings is None:
        return cv2.connectedComponents(foreground, connectivity=4)[1]
    side = raw.embeddings.shape[-1]
    masks = [foreground[row : row + side, column : column + side] > 0 for row, column in raw.windows]
    found = [
        group(embeddings[:, : mask.shape[0], : mask.shape[1]], mask, config)
        for embeddings, mask in zip(raw.embeddings, masks)
    ]
    return mosaic(found, raw.windows, foreground.shape, config.min_area)


def group(embeddings: Tensor, mask: np.ndarray, config: Config) -> np.ndarray:
    """Nuclei of one window: connected components of clusters of the embeddings of its foreground.

    embeddings : float (D, h, w); mask : bool (h, w), the foreground.
    Returns int32 (h, w), 1 to N. A cluster is a nucleus, or several that lie apart, so its 4-connected
    components are the instances. Components below `min_area` are thrown away: slivers of a boundary that
    fell to another cluster. So is, unless `config.pieces` is None, the one cluster with most components,
    which is background that the low threshold let in, but only from `pieces` components on, slivers not
    counted: a real nucleus does not lie in so many places, and a window without such background would
    otherwise lose one.
    """
    labels = np.zeros(mask.shape, np.int32)
    if not mask.any():
        return labels
    where = torch.from_numpy(mask).to(embeddings.device)
    clusters = mean_shift(embeddings[:, where].T, config.bandwidth)[0].cpu().numpy()
    labels[mask] = clusters + 1
    components = label(labels, connectivity=1)
    areas = np.bincount(components.ravel())
    cluster_of = np.zeros(len(areas), np.int64)
    cluster_of[components] = labels
    keep = areas >= config.min_area
    keep[0] = False
    count = np.bincount(cluster_of[keep], minlength=1)
    if config.pieces is not None and count.max() >= config.pieces:
        keep &= cluster_of != count.argmax()
    return np.where(keep, np.cumsum(keep), 0).astype(np.int32)[components]
