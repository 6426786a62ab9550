"""Encoders: shapes, sources of weights, refusals."""

import pytest
import torch
from torchvision.models import resnet18

from nucbook.networks import encoder
from nucbook.networks.encoder import (
    Encoder,
    initialise,
    save_tissue_weights,
    tissue_weights,
    weights_identity,
)


@pytest.mark.parametrize(
    ("name", "levels"), [("resnet18", 4), ("resnet34", 5), ("resnet50", 3), ("resnet101", 1)]
)
def test_one_map_a_scale(name, levels):
    encoder = Encoder(name, levels).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 64, 96))
    expected = [(1, c, 64 // 2 ** (i + 1), 96 // 2 ** (i + 1)) for i, c in enumerate(encoder.channels)]
    assert [tuple(m.shape) for m in maps] == expected


def test_agrees_with_torchvision():
    torch.manual_seed(0)
    net, encoder = resnet18().eval(), Encoder("resnet18").eval()
    encoder.load_state_dict(net.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 64)
    seen = []
    net.layer4.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        net((image - encoder.mean) / encoder.std)
        assert torch.allclose(encoder(image)[-1], seen[0], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "why"), [({"name": "resnet20"}, "Choose one of"), ({"levels": 6}, "1 to 5")]
)
def test_refuses_what_it_cannot_build(options, why):
    with pytest.raises(ValueError, match=why):
        Encoder(**options)


def test_weights_from_tissue_reach_every_tensor(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    teacher = Encoder("resnet18", 4)
    save_tissue_weights(teacher)
    assert tissue_weights("resnet18").stat().st_size < 6e6
    pupil = Encoder("resnet18", 4)
    assert initialise(pupil, "tissue") == "tissue"
    for name, value in teacher.state_dict().items():
        assert torch.allclose(pupil.state_dict()[name].float(), value.float(), atol=1e-3)
    with pytest.warns(UserWarning, match="do not reach"):
        initialise(Encoder("resnet18", 5), "tissue")


def test_missing_weights_are_said_and_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    with pytest.warns(UserWarning, match=r"starts from scratch.*nucbook pretrain"):
        assert initialise(Encoder("resnet18", 2), "tissue") == "scratch"
    assert weights_identity("resnet18", "tissue") is weights_identity("resnet18", "scratch") is None
    save_tissue_weights(Encoder("resnet18", 4))
    one = weights_identity("resnet18", "tissue")
    save_tissue_weights(Encoder("resnet18", 4))
    assert None is not one != weights_identity("resnet18", "tissue")
    with pytest.raises(ValueError, match="init 'coco'"):
        initialise(Encoder("resnet18", 2), "coco")


def test_a_start_without_the_imagenet_weights_is_another_start(monkeypatch):
    """So nothing that was cached, or broken off, without them passes for a training that began with them."""

    def refused(name):
        raise OSError("no route to host")

    monkeypatch.setattr(encoder, "_imagenet", refused)
    assert weights_identity("resnet34", "imagenet") is None
    monkeypatch.setattr(encoder, "_imagenet", lambda name: {})
    assert weights_identity("resnet34", "imagenet") == "ResNet34_Weights.IMAGENET1K_V1"
