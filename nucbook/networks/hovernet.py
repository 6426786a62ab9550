"""HoVer-Net: one encoder, and two branches: which pixels are nucleus, and where in its nucleus each lies."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.networks.encoder import BOTTLENECK, IMAGE_MEAN, IMAGE_STD, build_encoder
from nucbook.networks.unet import block

UNITS = (3, 4, 6, 3)  # residual units of ResNet-50, layer by layer
KERNEL = 5  # px, of the dense decoder
BETWEEN, ADDED, GROUPS = 128, 32, 4  # channels within and from a dense unit; groups of its 5×5
LIGHT_LEVELS = 4  # scales of the light network: strides 2, 4, 8, 16


def convolution(inward: int, outward: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias; its output has the size of its input, divided by `stride`."""
    return nn.Conv2d(inward, outward, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def activation(channels: int) -> nn.Sequential:
    """Batch normalisation and ReLU, before a convolution instead of after it."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


# -- the encoder --------------------------------------------------------------------------------


class ResidualUnit(nn.Module):
    """A pre-activated bottleneck (He et al. 2016, 'Identity mappings in deep residual networks').

    first : of its layer. What comes in is activated already, and goes through the shortcut's convolution.
    """

    def __init__(self, inward: int, outward: int, stride: int = 1, first: bool = False):
        super().__init__()
        width = outward // 4
        self.activation1 = nn.Identity() if first else activation(inward)
        self.conv1 = convolution(inward, width, 1)
        self.activation2, self.conv2 = activation(width), convolution(width, width, 3, stride)
        self.activation3, self.conv3 = activation(width), convolution(width, outward, 1)
        self.downsample = nn.Sequential(*[convolution(inward, outward, 1, stride)] * first)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(self.activation1(x))
        return self.downsample(x) + self.conv3(self.activation3(self.conv2(self.activation2(y))))


class PreactivatedEncoder(nn.Module):
    """A pre-activated ResNet-50 that starts at full resolution (Graham et al. 2019, Sec. 3.1).

    The 7×7 stem has stride 1 and no pooling follows it; each layer ends activated.

    Takes images in [0, 1], float (B, 3, H, W); H and W multiples of `stride` = 8.
    Returns four maps, finest first: (B, channels[i], H / 2**i, W / 2**i).

    Stem and convolutions bear the names of torchvision's plain ResNet-50, and `torchvision_names` adds the
    normalisations that stand at the same place there: after the first and the second convolution of a unit.
    So `initialise` fills 53 of 53 convolutions and 33 of 49 normalisations. The other 16, `activation1` of
    all units but the first of a layer and the end of each layer, normalise a sum of shortcut and residual.
    A plain ResNet has nothing there: its bn3 and downsample.1 normalise the two addends. So these 16 start
    new, with weight 1 and bias 0.
    """

    name, stride, channels = "resnet50", 8, BOTTLENECK[1:]

    mean: Tensor
    std: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1), persistent=False)
        self.conv1, self.bn1, self.relu = convolution(3, 64, 7), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        inward = 64
        for i, (units, outward) in enumerate(zip(UNITS, self.channels), start=1):
            first = ResidualUnit(inward, outward, stride=1 if i == 1 else 2, first=True)
            others = [ResidualUnit(outward, outward) for _ in range(units - 1)]
            self.add_module(f"layer{i}", nn.Sequential(first, *others, activation(outward)))
            inward = outward

    @property
    def torchvision_names(self) -> dict[str, str]:
        """{name here: name in torchvision's ResNet-50} of the tensors that are named otherwise there."""
        there = {"activation2.0": "bn1", "activation3.0": "bn2"}
        return {
            name: name.replace(own, plain)
            for name in self.state_dict()
            for own, plain in there.items()
            if own in name
        }

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.relu(self.bn1(self.conv1((image - self.mean) / self.std)))
        features = []
        for i in range(1, len(UNITS) + 1):
            x = getattr(self, f"layer{i}")(x)
            features.append(x)  # stride 2**(i - 1)
        return features


# -- the branches -------------------------------------------------------------------------------


class DenseUnit(nn.Module):
    """Two pre-activated convolutions, whose output joins their input (Huang et al. 2017)."""

    def __init__(self, channels: int):
        super().__init__()
        self.add = nn.Sequential(
            activation(channels),
            convolution(channels, BETWEEN, 1),
            activation(BETWEEN),
            convolution(BETWEEN, ADDED, KERNEL, groups=GROUPS),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.add(x)], 1)


def dense_block(inward: int, width: int, units: int) -> nn.Sequential:
    """A 5×5 convolution to `width` channels, dense units, and a 1×1 convolution of all their channels."""
    outward = width + units * ADDED
    grow = [DenseUnit(channels) for channels in range(width, outward, ADDED)]
    return nn.Sequential(
        convolution(inward, width, KERNEL), *grow, activation(outward), convolution(outward, outward, 1)
    )


class Branch(nn.Module):
    """A decoder: from scale to scale doubled, the encoder's map added, `steps[i]` taken; then `head`."""

    def __init__(self, steps: Iterable[nn.Module], head: nn.Module):
        super().__init__()
        self.steps, self.head = nn.ModuleList(steps), head

    def forward(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for step, skip in zip(self.steps, reversed(skips)):
            x = step(F.interpolate(x, scale_factor=2.0) + skip)
        return self.head(x)


def dense_branch(out_channels: int) -> Branch:
    """The decoder of Graham et al. 2019, Sec. 3.1: eight, then four dense units."""
    steps = [dense_block(1024, 256, 8), dense_block(512, 128, 4), convolution(256, 64, KERNEL)]
    return Branch(steps, nn.Sequential(activation(64), nn.Conv2d(64, out_channels, 1)))


def light_branch(out_channels: int, channels: tuple[int, ...]) -> Branch:
    """Two 3×3 convolutions a scale; the encoder begins at stride 2, so the head doubles once more."""
    widths = [32, *channels[:-1]]
    steps = [block(widths[i + 1], widths[i]) for i in reversed(range(len(channels) - 1))]
    return Branch(
        steps, nn.Sequential(nn.Upsample(scale_factor=2.0), block(32, 16), nn.Conv2d(16, out_channels, 1))
    )


class HoVerNet(nn.Module):
    """HoVer-Net without the branch for classes (Graham et al. 2019, Sec. 3.1).

    encoder : resnet50 is the paper's network: pre-activated, at full resolution from the stem on, dense
              branches. Any other of `build_encoder`'s names makes a light one for small machines: that
              encoder with its usual stem, and branches of plain convolutions.

    Takes images in [0, 1], float (B, 3, H, W); H and W multiples of `stride`.
    Returns logits (B, 2, H, W), nucleus last, and HV maps (B, 2, H, W), horizontal first, unbounded.
    Raises ValueError for an image of another size, and for another encoder.

    Where the original crops (270 px in, 80 out) convolutions here pad with zeros, so that every pixel of
    a 256² image gets its output, as IRCR-Net needs. The groups of the dense units are the released
    code's. Neither paper states how new weights are drawn; PyTorch's defaults are taken.
    """

    def __init__(self, encoder: str = "resnet50"):
        super().__init__()
        paper = encoder == "resnet50"
        self.encoder = PreactivatedEncoder() if paper else build_encoder(encoder, LIGHT_LEVELS)
        self.stride = self.encoder.stride
        *skips, deepest = self.encoder.channels
        self.bottom = convolution(deepest, skips[-1], 1)
        self.np, self.hv = (
            dense_branch(2) if paper else light_branch(2, self.encoder.channels) for _ in range(2)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        if image.shape[-1] % self.stride or image.shape[-2] % self.stride:
            raise ValueError(f"image of {tuple(image.shape[-2:])} px; pad it to multiples of {self.stride}.")
        *skips, x = self.encoder(image)
        x = self.bottom(x)
        return self.np(x, skips), self.hv(x, skips)
