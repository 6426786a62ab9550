"""The two networks: one predicts what is nucleus, the other embeds each pixel by its instance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.networks import UNet


class SemanticNet(nn.Module):
    """SPN, the semantic proposal network: background or nucleus, pixel by pixel (Liu et al. 2022, Sec. 2.1).

    encoder, levels : name and scales of the encoder.
    Takes images in [0, 1], float (B, 3, H, W) of any size; returns logits (B, 2, H, W), nucleus last.
    """

    def __init__(self, encoder: str = "resnet34", levels: int = 5):
        super().__init__()
        self.unet = UNet(2, encoder, levels)

    @property
    def encoder(self) -> nn.Module:
        """What `init` fills."""
        return self.unet.encoder

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        stride = self.unet.stride
        image = F.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")
        return self.unet(image)[..., :height, :width]


class EmbeddingNet(nn.Module):
    """IEN, the instance encoding network: pixels of one nucleus near each other, nuclei apart (Sec. 2.1).

    channels        : of the embedding.
    encoder, levels : name and scales of the encoder.
    Takes images in [0, 1], float (B, 3, H, W), of the size of the crops it learns from; returns embeddings
    (B, channels, H, W).

    Two nuclei that look alike differ only in where they lie, so the first layer mixes each
    pixel's place in the window into its colour.
    """

    def __init__(self, channels: int = 16, encoder: str = "resnet34", levels: int = 5):
        super().__init__()
        self.place = CoordConv()
        self.unet = UNet(channels, encoder, levels)

    @property
    def encoder(self) -> nn.Module:
        """What `init` fills."""
        return self.unet.encoder

    def forward(self, image: Tensor) -> Tensor:
        return self.unet(self.place(image))


class CoordConv(nn.Module):
    """Row and column, from -1 to 1, beside the colours, then a 1×1 convolution (Liu et al. 2018).

    It starts as a copy of the colours with a hint of the place: what follows expects an image.
    """

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(5, 3, 1)
        with torch.no_grad():
            self.mix.weight[:, :3] = torch.eye(3)[..., None, None]
            self.mix.weight[:, 3:] *= 0.5
            self.mix.bias.zero_()

    def forward(self, image: Tensor) -> Tensor:
        rows, columns = (torch.linspace(-1, 1, n, device=image.device) for n in image.shape[-2:])
        place = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))  # (2, H, W)
        return self.mix(torch.cat([image, place.to(image).expand(len(image), -1, -1, -1)], 1))
