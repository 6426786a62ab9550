"""The four terms of HoVer-Net's loss (Graham et al. 2019; Lin et al. 2025, Eqs. 8 to 12).

HV maps are those of `targets.hv_maps`, horizontal first.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-3  # px, of the Dice loss; HoVer-Net's. Lin et al. print e⁻³ = 0.0498
REACH = 2  # px, from the middle of the 5×5 kernel of gradients to its border


def supervised_losses(
    np_logits: Tensor,
    hv: Tensor,
    nucleus: Tensor,
    hv_target: Tensor,
    valid: Tensor,
    whole: Tensor | None = None,
) -> dict[str, Tensor]:
    """The four terms of a labelled batch; their sum is the loss (Lin et al. 2025, Eq. 12: all weights 1).

    np_logits : float (B, 2, H, W), nucleus last; hv, hv_target : float (B, 2, H, W), no unit.
    nucleus   : bool (B, H, W), whether a pixel is of any nucleus.
    valid     : bool (B, H, W), the pixels that count.
    whole     : bool (B, H, W), those of them that count for HV maps: not those of nuclei whose extent is
                unknown (`Batch.whole`). None = all.
    Returns scalars >= 0: "dice", "cross_entropy", "mse", "msge".
    """
    whole = valid if whole is None else whole
    return {
        "dice": dice_loss(np_logits, nucleus, valid),
        "cross_entropy": cross_entropy(np_logits, nucleus, valid),
        "mse": hv_loss(hv, hv_target, whole),
        "msge": hv_gradient_loss(hv, hv_target, nucleus, whole),
    }


def dice_loss(np_logits: Tensor, nucleus: Tensor, valid: Tensor) -> Tensor:
    """One minus the soft Dice of the nuclei, over the pixels of the whole batch (Lin et al. 2025, Eq. 8).

    np_logits : float (B, 2, H, W), nucleus last; nucleus, valid : bool (B, H, W).
    Returns a scalar in [0, 1]; 0 (with gradient) where no pixel is valid.

    ε is HoVer-Net's 1e-3, where the paper prints e⁻³, taken for a misprint. The sum is over one class,
    as printed; HoVer-Net's released code adds that of the background.
    """
    probability = np_logits.float().softmax(1)[:, 1] * valid
    truth = (nucleus & valid).float()
    both = (probability * truth).sum()
    return 1 - (2 * both + EPSILON) / (probability.sum() + truth.sum() + EPSILON)


def cross_entropy(np_logits: Tensor, nucleus: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of nucleus and background, the mean over valid pixels (Lin et al. 2025, Eq. 9).

    np_logits : float (B, 2, H, W), nucleus last; nucleus, valid : bool (B, H, W).
    Returns a scalar >= 0; 0 (with gradient) where no pixel is valid.
    """
    entropy = F.cross_entropy(np_logits.float(), nucleus.long(), reduction="none")  # (B, H, W)
    return (entropy * valid).sum() / valid.sum().clamp(min=1)


def hv_loss(hv: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Squared error of the HV maps, background included (Lin et al. 2025, Eq. 10).

    hv, target : float (B, 2, H, W), no unit; valid : bool (B, H, W).
    Returns a scalar >= 0, the mean over valid pixels and both maps; 0 (with gradient) without such pixels.
    """
    error = (hv.float() - target).square().mean(1)  # (B, H, W)
    return (error * valid).sum() / valid.sum().clamp(min=1)


def hv_gradient_loss(hv: Tensor, target: Tensor, nucleus: Tensor, valid: Tensor) -> Tensor:
    """Squared error of the HV maps' gradients within nuclei (Lin et al. 2025, Eq. 11; Graham et al. 2019).

    hv, target : float (B, 2, H, W), no unit; nucleus, valid : bool (B, H, W).
    Returns a scalar >= 0, the sum of both squares, averaged over the pixels of nuclei; 0 (with gradient)
    without such pixels. A pixel counts if all of the 5×5 px round it are valid, or outside the image.

    Read as in HoVer-Net's paper: the slope of the horizontal map from left to right, and of the vertical
    map downwards (its released code has them crossed). Neither paper names an operator; the kernel
    is that of the released code, offset / distance² in 5×5 px, which turns a slope of 1 / px into 12.
    Beyond the image the outermost pixel goes on.
    """
    offset = torch.arange(-REACH, REACH + 1, device=hv.device, dtype=torch.float32)
    square = offset[:, None] ** 2 + offset**2
    right = offset / square.clamp(min=1)  # (5, 5)
    kernel = torch.stack([right, right.T])[:, None]  # (2, 1, 5, 5)
    error = F.pad(hv.float() - target, [REACH] * 4, mode="replicate")
    # Gradients are linear: the difference of two is that of the difference.
    error = F.conv2d(error, kernel, groups=2).square().sum(1)  # (B, H, W)
    spoilt = F.max_pool2d((~valid)[:, None].float(), 2 * REACH + 1, 1, REACH)[:, 0] > 0
    within = nucleus & ~spoilt
    return (error * within).sum() / within.sum().clamp(min=1)
