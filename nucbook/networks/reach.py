"""How far a network looks: which input pixels change one output pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def reach(network: nn.Module, size: int, images: int = 8, seed: int = 0) -> Tensor:
    """The effective receptive field of the central output pixel (Luo et al. 2016).

    size   : side of the random input, pixels; a multiple of the network's stride.
    images : how many random inputs the magnitude is averaged over.

    Returns float (size, size), on the CPU: mean |gradient| of the central output pixel, all its
    channels, with respect to each input pixel; 0 = cannot be seen. The largest is 1. The network
    is left as it was.
    """
    was_training = network.training
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    where = next(network.parameters()).device
    image = torch.rand(images, 3, size, size, generator=generator).to(where).requires_grad_()
    output = network(image)
    centre = output[..., output.shape[-2] // 2, output.shape[-1] // 2]
    (gradient,) = torch.autograd.grad(centre.sum(), image)
    network.train(was_training)
    influence = gradient.abs().mean((0, 1)).cpu()
    return influence / influence.max().clamp(min=torch.finfo(influence.dtype).tiny)


def width_of(influence: Tensor, fraction: float = 0.95) -> int:
    """Side, in pixels, of the smallest centred square that holds `fraction` of the influence.

    influence : float (S, S) from `reach`.
    Raises ValueError for a fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction {fraction} of the influence; give one in (0, 1].")
    size = influence.shape[-1]
    influence = influence.double()  # sums in float32 depend on their order
    middle, total = size // 2, influence.sum()
    for half in range(size // 2 + 1):
        window = influence[
            max(middle - half, 0) : middle + half + 1, max(middle - half, 0) : middle + half + 1
        ]
        if window.sum() >= fraction * total * (1 - 1e-12):
            return min(2 * half + 1, size)
    return size
