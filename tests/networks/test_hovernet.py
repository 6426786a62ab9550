"""HoVer-Net: shapes, refusals, and which weights each branch trains."""

import pytest
import torch
from torchvision.models import resnet50

from nucbook.networks import initialise
from nucbook.networks.hovernet import HoVerNet, PreactivatedEncoder, ResidualUnit


@pytest.mark.parametrize(
    ("encoder", "size"), [("resnet50", (48, 32)), ("resnet18", (64, 96)), ("resnet34", (32, 32))]
)
def test_maps_have_the_images_size(encoder, size):
    network = HoVerNet(encoder).eval()
    with torch.no_grad():
        logits, hv = network(torch.rand(2, 3, *size))
    assert logits.shape == hv.shape == (2, 2, *size)


def test_paper_network_starts_at_full_resolution_and_ends_at_an_eighth():
    with torch.no_grad():
        maps = PreactivatedEncoder().eval()(torch.rand(1, 3, 32, 48))
    assert [tuple(m.shape) for m in maps] == [
        (1, 256, 32, 48),
        (1, 512, 16, 24),
        (1, 1024, 8, 12),
        (1, 2048, 4, 6),
    ]
    assert all((m >= 0).all() for m in maps)  # each layer ends activated
    assert [HoVerNet(name).stride for name in ("resnet50", "resnet18")] == [8, 16]


def test_paper_network_has_45_million_weights():
    network = HoVerNet("resnet50")
    weights = lambda module: sum(weight.numel() for weight in module.parameters())
    convolutions = lambda net: sum(weight.numel() for weight in net.parameters() if weight.ndim == 4)
    assert weights(network) == 45_028_676
    assert convolutions(network.encoder) == convolutions(resnet50())

    # By hand: 5×5 to the width, dense units of a 1×1 to 128 and a 5×5 to 32 in 4 groups, a 1×1 of all.
    block = lambda inward, width, units: (
        25 * inward * width
        + (width + 32 * units) ** 2
        + sum((width + 32 * unit) * 128 + 25 * 128 * 32 // 4 for unit in range(units))
    )
    expected = block(1024, 256, 8) + block(512, 128, 4) + 25 * 256 * 64 + 64 * 2
    assert convolutions(network.np) == convolutions(network.hv) == expected


def test_a_residual_unit_adds_to_what_comes_in():
    unit = ResidualUnit(8, 8).eval()
    torch.nn.init.zeros_(unit.conv3.weight)
    x = torch.randn(1, 8, 5, 5)
    assert torch.equal(unit(x), x)  # not even a ReLU in between


@pytest.mark.parametrize("encoder", ["resnet50", "resnet18"])
def test_a_gradient_reaches_every_weight_but_not_from_one_branch_to_the_other(encoder):
    torch.manual_seed(0)
    network = HoVerNet(encoder)
    image = torch.rand(2, 3, 32, 32)
    untouched = lambda: {
        name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()
    }
    for number, other in ((0, "hv."), (1, "np.")):
        network.zero_grad()
        network(image)[number].square().mean().backward()
        assert untouched() == {name for name, _ in network.named_parameters() if name.startswith(other)}


def test_weights_of_a_plain_resnet_fit_its_convolutions(tmp_path, monkeypatch):
    torch.manual_seed(0)
    plain, encoder = resnet50(), PreactivatedEncoder()
    monkeypatch.setattr("nucbook.networks.encoder._imagenet", lambda name: plain.state_dict())
    with pytest.warns(UserWarning, match=r"do not reach \d+ tensors, layer1\.0\.activation2\.0\.weight"):
        assert initialise(encoder, "imagenet") == "imagenet"
    taken = encoder.state_dict()
    assert torch.equal(taken["conv1.weight"], plain.conv1.weight)
    for name, weight in encoder.named_parameters():
        assert weight.ndim < 4 or torch.equal(weight, plain.state_dict()[name]), name


def test_refuses_sizes_it_would_misalign_and_encoders_there_are_not():
    with pytest.raises(ValueError, match="multiples of 8"):
        HoVerNet("resnet50")(torch.rand(1, 3, 36, 64))
    with pytest.raises(ValueError, match="multiples of 16"):
        HoVerNet("resnet18")(torch.rand(1, 3, 40, 64))
    with pytest.raises(ValueError, match="resnet20"):
        HoVerNet("resnet20")
