"""From what the two networks say to nuclei (Liu et al. 2022, Sec. 2.1, model inference)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.data.patches import grid
from nucbook.instances.meanshift import mean_shift
from nucbook.instances.pieces import without_small
from nucbook.instances.stitch import centred_in
from nucbook.nuclei import Nuclei
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
    """What the networks say of images float (B, 3, H, W) in [0, 1].

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


def decode(raw: RawOutput, config: Config) -> np.ndarray | Nuclei:
    """The nuclei of one image.

    Without embeddings, connected pieces of the foreground. With them, clusters of the embeddings, window
    by window; a nucleus belongs to the window in whose core its centroid lies.
    """
    foreground = filled(without_small(raw.probability >= config.threshold, config.min_area).view(np.uint8))
    if raw.embeddings is None:
        return cv2.connectedComponents(foreground, connectivity=4)[1]
    shape, cores = foreground.shape, cores_of(raw, foreground.shape)

    def read(number: int) -> Nuclei:
        (row, column), embeddings = raw.windows[number], raw.embeddings[number]
        mask = foreground[row : row + embeddings.shape[1], column : column + embeddings.shape[2]] > 0
        labels = group(embeddings[:, : mask.shape[0], : mask.shape[1]], mask, config)
        nuclei = Nuclei.from_labels(labels).shifted(row, column, shape)
        (top, bottom), (left, right) = cores[number]
        return nuclei[centred_in(nuclei, (top, left, bottom, right))]

    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as pool:
        return Nuclei.concatenate(list(pool.map(read, range(len(raw.windows)))), shape)


def group(embeddings: Tensor, mask: np.ndarray, config: Config) -> np.ndarray:
    """Nuclei of one window: pieces of clusters of the embeddings of its foreground.

    embeddings : float (D, h, w); mask : bool (h, w), the foreground.
    Returns int32 (h, w). A cluster is a nucleus, or several that lie apart, so its connected pieces are
    the instances. Pieces below `min_area` are thrown away: slivers of a rim that fell to another cluster.
    So is the one cluster in most pieces, which is background that the low threshold let in — but only
    from `pieces` pieces on, slivers not counted: a real nucleus does not lie in so many places, and a
    window without such background would otherwise lose one.
    """
    labels = np.zeros(mask.shape, np.int32)
    if not mask.any():
        return labels
    where = torch.from_numpy(mask).to(embeddings.device)
    clusters = mean_shift(embeddings[:, where].T, config.bandwidth)[0].cpu().numpy()
    labels[mask] = clusters + 1
    pieces, cluster_of = split(labels)
    keep = np.bincount(pieces.ravel(), minlength=len(cluster_of)) >= config.min_area
    keep[0] = False
    count = np.bincount(cluster_of[keep], minlength=1)
    if count.max() >= config.pieces:
        keep &= cluster_of != count.argmax()
    return np.where(keep[pieces], pieces, 0)


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """4-connected pieces of labels int (H, W): int32 (H, W), and the label of each (pieces + 1,)."""
    pieces, of, last = np.zeros(labels.shape, np.int32), [np.zeros(1, np.int64)], 0
    for label in np.unique(labels[labels > 0]):
        count, own = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=4)
        pieces[own > 0] = own[own > 0] + last
        of.append(np.full(count - 1, label))
        last += count - 1
    return pieces, np.concatenate(of)


def cores_of(raw: RawOutput, shape: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """((first row, last row + 1), (first column, last column + 1)) of each window: overlaps are halved."""
    side = raw.embeddings.shape[-1]
    axes = []
    for axis, extent in enumerate(shape):
        starts = sorted({window[axis] for window in raw.windows})
        cuts = [0, *((a + side + b) // 2 for a, b in pairwise(starts)), extent]
        axes.append({start: (cuts[i], cuts[i + 1]) for i, start in enumerate(starts)})
    return [(axes[0][row], axes[1][column]) for row, column in raw.windows]
