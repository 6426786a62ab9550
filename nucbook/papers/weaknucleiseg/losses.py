"""What the two networks minimise: cross-entropy where there is a label, and Eq. 1 for embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from nucbook.papers.weaknucleiseg.labels import IGNORED, INSTANCE_BACKGROUND


def partial_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over the pixels that have a label (Liu et al. 2022, Sec. 2.2).

    logits : float (B, K, H, W); labels : int (B, H, W), classes 0 to K − 1, or IGNORED.
    Returns a scalar >= 0; 0 (with gradient) where nothing is labelled.
    """
    summed = F.cross_entropy(logits.float(), labels.long(), ignore_index=IGNORED, reduction="sum")
    return summed / (labels != IGNORED).sum().clamp(min=1)


@dataclass(frozen=True)
class Instances:
    """The pixels of a batch sorted by instance. C instances in all images together, P pixels in them.

    pixels : (P, D) embeddings; of : (P,) the instance of each; sizes : (C,) pixels of each.
    means  : (C, D) mean embeddings μ.
    image  : (C,) the image each lies in; background : (C,) whether it is that image's background.
    per_image : (C,) instances in that image, the C of Eq. 1.
    images : images in the batch, those without an instance included.
    """

    pixels: Tensor
    of: Tensor
    sizes: Tensor
    means: Tensor
    image: Tensor
    background: Tensor
    per_image: Tensor
    images: int


def gather(embeddings: Tensor, labels: Tensor) -> Instances:
    """Sort embeddings by instance.

    embeddings : float (B, D, H, W).
    labels     : int (B, H, W), coded as `labels.instance_labels`: 0 ignored, INSTANCE_BACKGROUND, nuclei.
    """
    where = labels > 0
    image = torch.arange(len(labels), device=labels.device)[:, None, None].expand_as(labels)[where]
    most = int(labels.max()) + 1 if labels.numel() else 1
    keys, of, sizes = torch.unique(image * most + labels[where], return_inverse=True, return_counts=True)
    pixels = embeddings.float().permute(0, 2, 3, 1)[where]  # (P, D)
    sums = pixels.new_zeros(len(keys), pixels.shape[1]).index_add(0, of, pixels)
    image = torch.div(keys, most, rounding_mode="floor")
    return Instances(
        pixels,
        of,
        sizes,
        sums / sizes[:, None],
        image,
        keys % most == INSTANCE_BACKGROUND,
        torch.bincount(image, minlength=len(labels))[image],
        len(labels),
    )


def pull_loss(found: Instances, margin: float = 0.5, alpha: float = 1.0, squared: bool = False) -> Tensor:
    """Pull the pixels of an instance to within `margin` of their mean (Eq. 1, L_intra / C).

    margin  : δ_intra, embedding units; alpha : weight of the background's term.
    squared : hinges squared, as De Brabandere et al. 2017 and the released code have them.
    Returns a scalar >= 0, the mean over images; 0 (with gradient) without instances.
    """
    distance = length(found.pixels - found.means[found.of])
    hinge = power(F.relu(distance - margin), squared)
    mean = hinge.new_zeros(len(found.sizes)).index_add(0, found.of, hinge) / found.sizes
    weight = torch.where(found.background, alpha, 1.0) / found.per_image
    return (weight * mean).sum() / found.images


def push_loss(found: Instances, margin: float = 3.0, alpha: float = 1.0, squared: bool = False) -> Tensor:
    """Push the means of two instances of an image `margin` apart (Eq. 1, L_inter / C(C − 1)).

    margin : δ_inter, embedding units; alpha : weight of the pairs with the background.
    Returns a scalar >= 0, the mean over images; 0 (with gradient) without a pair.
    """
    distance = length(found.means[:, None] - found.means[None])  # (C, C)
    pair = (found.image[:, None] == found.image[None]) & ~torch.eye(
        len(found.means), dtype=torch.bool, device=distance.device
    )
    weight = torch.where(found.background[:, None] | found.background[None], alpha, 1.0)
    weight = weight * pair / (found.per_image * (found.per_image - 1)).clamp(min=1)[:, None]
    return (weight * power(F.relu(margin - distance), squared)).sum() / found.images


def regulariser(found: Instances) -> Tensor:
    """Mean length of the mean embeddings: keeps them round the origin (Eq. 1, last term without γ).

    Returns a scalar >= 0, the mean over images; 0 (with gradient) without instances.
    """
    return (length(found.means) / found.per_image).sum() / found.images


def length(vectors: Tensor) -> Tensor:
    """Euclidean length along the last axis; its gradient at 0 is 0, where that of a root is infinite."""
    square = vectors.square().sum(-1)
    zero = square == 0
    return torch.where(zero, 0, torch.where(zero, 1, square).sqrt())


def power(hinge: Tensor, squared: bool) -> Tensor:
    """The hinge, or its square."""
    return hinge.square() if squared else hinge
