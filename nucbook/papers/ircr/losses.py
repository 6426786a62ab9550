"""What IRCR-Net's student minimises without labels: Eq. 3 (MIAC). With labels it is HoVer-Net's loss.

HV maps are those of `targets.hv_maps`, horizontal first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nucbook.papers.ircr.matching import Cover, Pairs


def feature_maps(np_logits: Tensor, hv: Tensor) -> Tensor:
    """F of Eqs. 3 and 7: the maps that student and teacher should agree on.

    np_logits : float (B, 2, H, W), nucleus last; hv : float (B, 2, H, W).
    Returns float (B, 3, H, W): probability of nucleus, horizontal and vertical map.

    The paper does not say whether F is logits or probabilities. Probabilities are taken, in the scale
    of the HV maps, and of nucleus alone: the background's is its mirror image.
    """
    return torch.cat([np_logits.float().softmax(1)[:, 1:], hv.float()], 1)


def miac_loss(student: Tensor, teacher: Tensor, pairs: Pairs, beta: float = 0.5) -> Tensor:
    """Draw matched nuclei of the student to their partners in the teacher (Lin et al. 2025, Eq. 3).

    student, teacher : float (B, C, H, W), `feature_maps`: probability of nucleus first.
    pairs            : of the same images, from `matching.match_batch`, on the same device.
    beta             : weight of the boundary term, of the probability alone; Sec. 3.2.
    Returns a scalar >= 0, the mean over images; an image without a pair adds 0 (with gradient). The
    gradient reaches the student alone, within its own matched nuclei and along their boundaries.

    As printed, each side is cut out by its own mask. So where a nucleus of the student sticks out
    over its partner, it is drawn to 0, the background; where the partner sticks out, the loss is
    larger, but nothing moves. Norms are taken as means over the map, one nucleus being a small part of it:
    the paper does not say whether they are sums, but γ₂ = 100 fits the mean.
    """
    teacher = teacher.detach()
    nuclei = paired_error(student, teacher, pairs.nuclei, pairs.count)
    return nuclei + beta * paired_error(student[:, :1], teacher[:, :1], pairs.boundaries, pairs.count)


def paired_error(student: Tensor, teacher: Tensor, cover: Cover, count: Tensor) -> Tensor:
    """Squared difference of the two sides, each cut out by its masks, summed over pairs (one term of Eq. 3).

    student, teacher : float (B, C, H, W); cover : pairs at each pixel; count : int (B,), N of each image.
    Returns a scalar >= 0: per image the mean over channels and all pixels, over N; then the mean over images.
    """
    both, own, other = (n[:, None] for n in (cover.both, cover.student, cover.teacher))  # (B, 1, H, W)
    error = both * (student - teacher).square() + own * student.square() + other * teacher.square()
    return (error.mean((1, 2, 3)) / count.clamp(min=1)).mean()
