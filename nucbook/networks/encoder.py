"""Encoders: ResNets that return one feature map per scale."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nucbook.cache import cache_folder

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


class Encoder(nn.Module):
    """A ResNet (He et al. 2016) without its classifier.

    name   : resnet18, resnet34, resnet50 or resnet101.
    levels : how many of the five scales (strides 2, 4, 8, 16, 32) to build and compute.

    Takes images in [0, 1], float (B, 3, H, W); H and W multiples of `stride` = 2**levels.
    Returns `levels` maps, finest first: (B, channels[i], H / 2**(i+1), W / 2**(i+1)).
    Parameter names are torchvision's, so its weights load as they are.
    """

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


def initialise(encoder: Encoder, init: str) -> str:
    """Fill an encoder with pre-trained weights and return the `init` that came about, for the record.

    init : "scratch"  leaves it as it is,
           "imagenet" takes torchvision's weights, downloaded on first use,
           "tissue"   takes weights pre-trained on simulated tissue by `nucbook pretrain`.

    Weights that cannot be had leave the encoder as it is, with a warning, and return "scratch".
    Raises ValueError for another `init`.
    """
    if init not in INITS:
        raise ValueError(f"init {init!r}? One of {', '.join(INITS)}.")
    if init == "scratch":
        return init
    try:
        state = _imagenet(encoder.name) if init == "imagenet" else load_file(tissue_weights(encoder.name))
    except OSError as error:
        way_out = "check the network" if init == "imagenet" else "run `nucbook pretrain` first"
        warnings.warn(
            f"{init} weights for {encoder.name} cannot be had ({error}); "
            f"this network starts from scratch. To change that, {way_out}.",
            stacklevel=2,
        )
        return "scratch"
    own = encoder.state_dict()
    found = {name: value.to(own[name].dtype) for name, value in state.items() if name in own}
    missing = [name for name in own if name not in found and not name.endswith("num_batches_tracked")]
    encoder.load_state_dict(found, strict=False)
    if missing:
        warnings.warn(
            f"{init} weights do not reach {len(missing)} tensors, {missing[0]} the first; "
            "those start from scratch.",
            stacklevel=2,
        )
    return init


def _imagenet(name: str) -> dict[str, Tensor]:
    return get_model_weights(name).DEFAULT.get_state_dict(progress=False)


def tissue_weights(name: str) -> Path:
    """Where `nucbook pretrain` puts the encoder weights it learnt on simulated tissue."""
    return cache_folder() / f"{name}-tissue.safetensors"


def weights_identity(name: str, init: str) -> str | None:
    """What tells one start from another: torchvision's name of its weights, the content of the tissue's.

    None for "scratch", and where the weights cannot be had: a training that begins without them is another
    than one that begins with them tomorrow.
    """
    try:
        if init == "imagenet":
            _imagenet(name)
            return str(get_model_weights(name).DEFAULT)
        if init == "tissue":
            return hashlib.blake2b(tissue_weights(name).read_bytes(), digest_size=8).hexdigest()
    except OSError:
        pass
    return None


def save_tissue_weights(encoder: Encoder, path: Path | None = None) -> Path:
    """Store an encoder in half precision for `initialise(…, "tissue")`; returns the file."""
    path = path or tissue_weights(encoder.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {
        name: (value.half() if value.is_floating_point() else value).contiguous().cpu()
        for name, value in encoder.state_dict().items()
    }
    save_file(half, path)
    return path
