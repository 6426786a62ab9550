"""The receptive field, where it can be counted by hand."""

import pytest
import torch
from torch import nn

from nucbook.networks import Encoder, UNet
from nucbook.networks.reach import reach, width_of


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_stacked_convolutions_see_two_pixels_more_each(layers):
    network = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(layers)])
    seen = reach(network, 33) > 0
    expected = torch.zeros(33, 33, dtype=torch.bool)
    expected[16 - layers : 17 + layers, 16 - layers : 17 + layers] = True
    assert torch.equal(seen, expected)
    assert width_of(reach(network, 33), 1.0) == 2 * layers + 1


def test_more_scales_see_further():
    widths = [width_of(reach(UNet(1, "resnet18", levels), 256, images=2)) for levels in (1, 4)]
    assert widths[0] < widths[1]


def test_the_network_is_left_as_it_was():
    network = Encoder("resnet18", 1)
    layer = nn.Sequential(network.conv1, network.bn1)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.train()
    reach(layer, 32)
    assert layer.training
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert all(weight.grad is None for weight in layer.parameters())


def test_share_is_checked():
    with pytest.raises(ValueError, match=r"give one in \(0, 1\]"):
        width_of(torch.ones(3, 3), 0)
