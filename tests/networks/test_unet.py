"""The U-Net: shapes, refusals, and that every weight is of use."""

import pytest
import torch

from nucbook.networks.unet import UNet


@pytest.mark.parametrize(
    ("encoder", "levels"), [("resnet18", 4), ("resnet18", 5), ("resnet50", 5), ("lite0", 5)]
)
def test_maps_have_the_images_size(encoder, levels):
    network = UNet(3, encoder, levels).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 64, 96)).shape == (2, 3, 64, 96)


def test_refuses_sizes_it_would_misalign():
    with pytest.raises(ValueError, match="multiples of 16"):
        UNet(1, "resnet18", 4)(torch.rand(1, 3, 40, 64))


@pytest.mark.parametrize("encoder", ["resnet18", "lite0"])
def test_a_gradient_reaches_every_weight(encoder):
    torch.manual_seed(0)
    network = UNet(2, encoder, 4)
    network(torch.rand(2, 3, 32, 32)).square().mean().backward()
    dead = [
        name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert not dead
