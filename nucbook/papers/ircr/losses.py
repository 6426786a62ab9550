"""What IRCR-Net's student minimises without labels: Eq. 3 (MIAC) and Eqs. 6 and 7 (PIAC).

With labels it is HoVer-Net's loss. Open in the paper: Eq. 6 gives w to the background too, in one map, which
Eq. 7 indexes by instance: one map, used once. The reduction of Eq. 7 and what F is: means over pixels, sums
over maps, of probabilities; zero where nothing was found.

HV maps are those of `targets.hv_maps`, horizontal first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from nucbook.papers.ircr.matching import Cover, Pairs
from nucbook.papers.ircr.properties import runs_of

MAP = 256**2  # px, of the paper's crops; sums over pixels are divided by it


def miac_loss(
    student: Tensor, teacher: Tensor, pairs: Pairs, beta: float = 0.5, union: bool = True
) -> Tensor:
    """Draw matched nuclei of the student to their partners in the teacher (Lin et al. 2025, Eq. 3).

    student, teacher : float (B, C, H, W), `feature_maps`: probability of nucleus first.
    pairs            : of the same images, from `matching.match_batch`, on the same device.
    beta             : weight of the boundary term, of the probability alone; Sec. 3.2.
    union            : compare both sides in both masks together; False = each in its own, as printed.
    Returns a scalar >= 0, the mean over images; an image without a pair adds 0 (with gradient). The
    gradient reaches the student alone: within its own matched nuclei and along their boundaries, and with
    `union` within and along their partners too.

    As printed, each side is cut out by its own mask. So where a nucleus of the student sticks out
    over its partner, it is drawn to 0, the background; where the partner sticks out, the first term is
    larger, but nothing moves. Nuclei shrink, and the teacher follows. Cut out by the union of both
    masks, the student is drawn to the teacher on either side.

    Whether norms are sums or means the paper does not state; γ₂ = 100 fits means over its maps of 256². Here
    they are sums over that number of pixels, so that a nucleus weighs the same in crops of any size.
    """
    teacher = teacher.detach()
    nuclei = paired_error(student, teacher, pairs.nuclei, pairs.count, union)
    edges = paired_error(student[:, :1], teacher[:, :1], pairs.boundaries, pairs.count, union)
    return nuclei + beta * edges


def paired_error(student: Tensor, teacher: Tensor, cover: Cover, count: Tensor, union: bool) -> Tensor:
    """Squared difference of the two sides, each cut out by its masks, summed over pairs (one term of Eq. 3).

    student, teacher : float (B, C, H, W); cover : pairs at each pixel; count : int (B,), N of each image.
    Returns a scalar >= 0: per image the sum over channels and pixels, over 256² N; then the mean over images.
    """
    both, own, other = (n[:, None] for n in (cover.both, cover.student, cover.teacher))  # (B, 1, H, W)
    gap = (student - teacher).square()
    error = (
        (both + own + other) * gap
        if union
        else both * gap + own * student.square() + other * teacher.square()
    )
    return (error.sum((1, 2, 3)) / (MAP * count.clamp(min=1))).mean()


def weight_map(
    labels: np.ndarray, scores: ArrayLike, threshold: float = 0.35, weight: float = 2.0
) -> np.ndarray:
    """U: 0 in nuclei that score below τ, w in the others and in the background (Lin et al. 2025, Eq. 6).

    labels    : int (H, W), 0 = background; scores : float (N,) in the order of the ids.
    threshold : τ, no unit; weight : w. Both Sec. 3.3.
    Returns float32 (H, W); 0 everywhere where there is no nucleus, for then Eq. 7 has nothing to sum.
    Raises ValueError for NaN, and where scores and nuclei are not as many.
    """
    scores, runs = np.asarray(scores, np.float64), runs_of(labels)
    if scores.shape != runs.ids.shape or np.isnan(scores).any():
        raise ValueError(f"scores {scores.shape} of {len(runs.ids)} nuclei; give each one that is not NaN.")
    of = weight * np.concatenate([[len(scores) > 0], scores >= threshold])
    return of.astype(np.float32)[runs.ranks]


def piac_loss(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Draw the student to the teacher, except where a nucleus cannot be trusted (Lin et al. 2025, Eq. 7).

    student, teacher : float (B, C, H, W), `baselines.hovernet.feature_maps`.
    weights          : float (B, H, W), `weight_map` of the teacher's instances in the same images.
    Returns a scalar >= 0, the sum over maps, the mean over images and pixels; 0 (with gradient) where all
    weights are. The gradient reaches the student alone. As printed, U stands inside the square: w = 2
    counts fourfold.
    """
    return (weights.detach()[:, None] * (student - teacher.detach())).square().sum(1).mean()
