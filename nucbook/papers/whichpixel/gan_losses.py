"""The losses of CSinGAN: Wasserstein scores of components, gradient penalty, reconstruction (Eqs. 3, 4).

The critic of a component sees an image that is zero outside the region; its score and its penalty are means
over that region. The released code takes means over all pixels, which makes a component the weaker the less
of the image it covers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nucbook.papers.whichpixel.critics import inner

Score = Callable[[Tensor], Tensor]  # a critic


def score(critic: Score, image: Tensor, region: Tensor) -> Tensor:
    """Mean score of an image in a region, E[D(y ⊗ m)] of Eqs. 3 and 4.

    image (B, 3, H, W); region (B, 1, H, W) in {0, 1}; critic to (B, 1, H − 10, W − 10). A window counts where
    its centre lies in the region. Returns a scalar; 0 (with gradient) for an empty region.
    """
    where = inner(region)
    return (critic(image * region) * where).sum() / where.sum().clamp(min=1)


def gap(critic: Score, fake: Tensor, real: Tensor, fake_region: Tensor, real_region: Tensor) -> Tensor:
    """What a critic minimises: the fake's score less the real image's, each in its own region (Eq. 4)."""
    return score(critic, fake, fake_region) - score(critic, real, real_region)


def gradient_penalty(
    critic: Score, fake: Tensor, real: Tensor, fake_region: Tensor, real_region: Tensor, between: Tensor
) -> Tensor:
    """Mean of (‖∇D(x̂)‖ − 1)² over the pixels of either region (Eq. 4).

    between : (B, 1, 1, 1) in [0, 1]; x̂ = between · fake ⊗ m + (1 − between) · real ⊗ r.

    The norm is that of one pixel's colours, in the summed scores of the windows that lie in either region;
    taken over the image as a whole, as Eq. 4 reads, the training diverges. Returns a scalar with gradient for
    the critic alone; 0 (with gradient) where both regions are empty.
    """
    either = torch.maximum(fake_region, real_region)
    mixed = between * (fake * fake_region) + (1 - between) * (real * real_region)
    mixed = mixed.detach().requires_grad_()
    scores = (critic(mixed) * inner(either)).sum()
    (slope,) = torch.autograd.grad(scores, mixed, create_graph=True)
    norm = (slope.square().sum(1, keepdim=True) + 1e-12).sqrt()  # whose slope at 0 is 0, not NaN
    return ((norm - 1).square() * either).sum() / either.sum().clamp(min=1)


def reconstruction(image: Tensor, real: Tensor) -> Tensor:
    """Mean squared difference from the real image, L_REC (Sec. III-B).

    The paper writes a squared norm, which would grow with the image; the released code takes the mean.
    """
    return (image - real).square().mean()
