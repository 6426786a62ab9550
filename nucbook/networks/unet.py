"""U-Net: an encoder, and a decoder that climbs back to the image's resolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.networks.encoder import build_encoder


def block(channels_in: int, channels_out: int) -> nn.Sequential:
    """Two 3×3 convolutions, each with batch normalisation and ReLU."""
    layers = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) on a pre-trainable encoder.

    out_channels    : maps to predict, raw (no softmax, no sigmoid).
    encoder, levels : name and scales of the encoder, as `build_encoder` takes them.
    width           : channels of the finest decoder block; each coarser block has twice as many, 256 at most.

    Takes images in [0, 1], float (B, 3, H, W); H and W multiples of `stride`.
    Returns float (B, out_channels, H, W).
    """

    def __init__(self, out_channels: int, encoder: str = "resnet18", levels: int = 5, width: int = 16):
        super().__init__()
        self.encoder = build_encoder(encoder, levels)
        self.stride = self.encoder.stride
        skips = (0, *self.encoder.channels)  # the image itself is no skip
        widths = [min(width * 2**i, 256) for i in range(levels)] + [self.encoder.channels[-1]]
        self.decoder = nn.ModuleList(
            block(widths[i + 1] + skips[i], widths[i]) for i in reversed(range(levels))
        )
        self.head = nn.Conv2d(widths[0], out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] % self.stride or image.shape[-2] % self.stride:
            raise ValueError(f"image of {tuple(image.shape[-2:])} px; pad it to multiples of {self.stride}.")
        *skips, x = self.encoder(image)
        for convolve, skip in zip(self.decoder, [*reversed(skips), None]):
            x = F.interpolate(x, scale_factor=2.0)
            x = convolve(x if skip is None else torch.cat([x, skip], 1))
        return self.head(x)
