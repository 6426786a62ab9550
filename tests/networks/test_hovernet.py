"""HoVer-Net: shapes, refusals, and which weights each branch trains."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from nucbook.networks import initialise
from nucbook.networks.hovernet import HoVerNet, PreactivatedEncoder, ResidualUnit


@pytest.mark.parametrize(
    ("encoder", "size"),
    [("resnet50", (48, 32)), ("resnet18", (64, 96)), ("resnet34", (32, 32)), ("lite0", (64, 96))],
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
    assert [HoVerNet(name).stride for name in ("resnet50", "resnet18", "lite0")] == [8, 16, 16]


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


@pytest.mark.parametrize("encoder", ["resnet50", "resnet18", "lite0"])
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


@pytest.fixture(scope="module")
def plain() -> nn.Module:
    """torchvision's ResNet-50 with no tensor as it is drawn: a normalisation that is missed shows."""
    torch.manual_seed(0)
    network = resnet50().eval()
    for name, value in network.state_dict().items():
        if "bn" in name or "downsample.1" in name:
            value.copy_(torch.rand(value.shape) + 0.5)
    return network


def filled(plain: nn.Module, folder: Path, monkeypatch) -> PreactivatedEncoder:
    """An encoder that started from the plain network's weights, as from ImageNet's."""
    monkeypatch.setenv("TORCH_HOME", str(folder))
    file = folder / "hub" / "checkpoints" / "resnet50-11ad3fa6.pth"
    file.parent.mkdir(parents=True)
    torch.save(plain.state_dict(), file)
    encoder = PreactivatedEncoder().eval()
    with pytest.warns(UserWarning, match="reach 53 of 53 convolutions, 33 of 49 normalisations"):
        assert initialise(encoder, "imagenet") == "imagenet"
    file.unlink()  # 100 MB
    return encoder


def test_weights_of_a_plain_resnet_go_tensor_by_tensor_where_they_belong(plain, tmp_path, monkeypatch):
    taken = filled(plain, tmp_path, monkeypatch).state_dict()
    expected, without = {}, 0
    for name, value in plain.state_dict().items():
        unit = re.fullmatch(r"(layer\d\.\d)\.bn([12])\.(\w+)", name)
        if unit:
            expected[f"{unit[1]}.activation{int(unit[2]) + 1}.0.{unit[3]}"] = value
        elif name.startswith("fc") or "bn3" in name or "downsample.1" in name:
            without += 1
        else:
            expected[name] = value
    assert len(expected) == 53 + 33 * 5
    assert without == 2 + (16 + 4) * 5
    for name, value in taken.items():
        if name in expected:
            assert torch.equal(value, expected.pop(name)), name
        else:  # as PyTorch makes it
            assert re.match(r"layer\d\.\d\.(activation1\.)?0\.", name), name
            assert torch.all(value == float(name.endswith(("weight", "running_var")))), name
    assert not expected


@pytest.mark.parametrize(("layer", "channels"), [("layer1", 64), ("layer2", 256), ("layer4", 1024)])
def test_a_unit_computes_what_the_plain_one_does_up_to_its_last_convolution(
    layer, channels, plain, tmp_path, monkeypatch
):
    """The first unit of a layer gets what is activated already; the plain one's sum comes after its bn3."""
    theirs, ours = getattr(plain, layer)[0], getattr(filled(plain, tmp_path, monkeypatch), layer)[0]
    seen = []
    hooks = [unit.conv3.register_forward_hook(lambda *call: seen.append(call[-1])) for unit in (theirs, ours)]
    with torch.no_grad():
        x = torch.rand(1, channels, 8, 8)
        theirs(x.clone())
        ours(x.clone())
    for hook in hooks:
        hook.remove()
    assert seen[0].std() > 0
    assert torch.allclose(seen[0], seen[1], rtol=1e-4, atol=1e-5)


def test_refuses_sizes_it_would_misalign_and_encoders_there_are_not():
    with pytest.raises(ValueError, match="multiples of 8"):
        HoVerNet("resnet50")(torch.rand(1, 3, 36, 64))
    with pytest.raises(ValueError, match="multiples of 16"):
        HoVerNet("resnet18")(torch.rand(1, 3, 40, 64))
    with pytest.raises(ValueError, match="resnet20"):
        HoVerNet("resnet20")
