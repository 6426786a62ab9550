"""Patches: crops of samples that already lie on the training device.

Data sets of slides are small (30 images of 1000² are 90 MB), so they stay as uint8 tensors where
the network is, and a batch is cut out of them there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from nucbook.sample import Sample


class Batch:
    """Tensors that share one geometry, read as attributes.

    image : uint8 or float (B, 3, H, W).
    valid : bool (B, H, W), False outside the slide and in regions that no loss may count.
    and the maps of the bank, (B, H, W) each: `batch.instances`, `batch.voronoi`, …
    """

    def __init__(self, image: Tensor, valid: Tensor, **maps: Tensor):
        self.image, self.valid, self.maps = image, valid, maps

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.__dict__["maps"][name]
        except KeyError:
            names = ", ".join(self.__dict__.get("maps", {})) or "none"
            raise AttributeError(f"this batch has no map {name!r}; its maps are {names}.") from None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        move = lambda tensor: tensor.to(device, non_blocking=non_blocking)
        return Batch(move(self.image), move(self.valid), **{name: move(m) for name, m in self.maps.items()})

    @classmethod
    def cat(cls, batches: Sequence[Batch]) -> Batch:
        """Batches of the same maps as one."""
        maps = {name: torch.cat([batch.maps[name] for batch in batches]) for name in batches[0].maps}
        image, valid = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("image", "valid"))
        return cls(image, valid, **maps)

    def __len__(self) -> int:
        return len(self.image)


class PatchBank:
    """Samples as tensors on `device`, from which random square crops are drawn.

    samples : at least one; where masks are known they become the map `instances`.
    size    : side of a crop, pixels. A smaller image is padded with white, `valid` False; this is said.
    maps    : more maps by name, one (H, W) array a sample (Voronoi labels, pseudo labels, …).

    Raises ValueError for no samples, samples of which only some have masks, or maps that do not fit.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        size: int,
        device: torch.device | str = "cpu",
        maps: Mapping[str, Sequence[np.ndarray]] | None = None,
    ):
        if not samples:
            raise ValueError("no samples to draw patches from.")
        self.size, self.device = size, torch.device(device)
        layers = {name: list(arrays) for name, arrays in (maps or {}).items()}
        labelled = {sample.labelled for sample in samples}
        if len(labelled) > 1:
            raise ValueError("some samples have masks and some have none; put them into two banks.")
        if labelled == {True}:
            layers["instances"] = [_renumbered(sample.label_map) for sample in samples]
        layers["valid"] = [np.ones(s.shape, bool) if s.valid is None else s.valid for s in samples]
        for name, arrays in layers.items():
            if [array.shape for array in arrays] != [sample.shape for sample in samples]:
                raise ValueError(f"map {name!r} does not have one (H, W) array of the image's size a sample.")
        self.images = [self._padded(sample.image.transpose(2, 0, 1), 255) for sample in samples]
        self.layers = {name: [self._padded(array, 0) for array in arrays] for name, arrays in layers.items()}
        small = [sample.name for sample in samples if min(sample.shape) < size]
        if small:
            warnings.warn(
                f"{len(small)} images are smaller than the {size} px crop and padded ({small[0]} the first).",
                stacklevel=2,
            )
        # A pixel of a large image is as likely as one of a small image.
        self.weights = torch.tensor([float(math.prod(sample.shape)) for sample in samples])

    def _padded(self, array: np.ndarray, value: int) -> Tensor:
        missing = [max(self.size - length, 0) for length in array.shape[-2:]]
        pad = [(0, 0)] * (array.ndim - 2) + [(m // 2, m - m // 2) for m in missing]
        return torch.from_numpy(np.ascontiguousarray(np.pad(array, pad, constant_values=value))).to(
            self.device
        )

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, count: int, generator: torch.Generator) -> Batch:
        """`count` random crops, uint8 images (count, 3, size, size) and their maps."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator).tolist()
        where = torch.rand(count, 2, generator=generator).tolist()
        windows = []
        for i, (u, v) in zip(which, where):
            height, width = self.images[i].shape[-2:]
            row, column = int(u * (height - self.size + 1)), int(v * (width - self.size + 1))
            windows.append((i, slice(row, row + self.size), slice(column, column + self.size)))
        cut = lambda layer: torch.stack([layer[i][..., rows, columns] for i, rows, columns in windows])
        return Batch(cut(self.images), **{name: cut(layer) for name, layer in self.layers.items()})


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """A label map whose ids a float32 can tell apart, as the augmentation needs; as it is where it can."""
    if labels.size == 0 or labels.max() < 2**24:
        return labels
    ids, ranks = np.unique(labels, return_inverse=True)
    return (ranks.reshape(labels.shape) + (ids[0] != 0)).astype(labels.dtype)


def grid(shape: tuple[int, int], size: int, overlap: int = 0) -> Iterator[tuple[int, int]]:
    """First rows and columns of patches of `size` that cover an image, `overlap` px in common at least.

    Patches are spread evenly and stay inside; an image smaller than a patch gives the one at (0, 0).
    Raises ValueError where the overlap is not smaller than the patch.
    """
    if not 0 <= overlap < size:
        raise ValueError(f"overlap {overlap} px of patches of {size} px; it must be smaller.")
    starts = []
    for length in shape:
        count = max(1, math.ceil((length - overlap) / (size - overlap)))
        starts.append(np.linspace(0, max(length - size, 0), count).round().astype(int).tolist())
    return ((row, column) for row in starts[0] for column in starts[1])


def patches(sample: Sample, size: int) -> list[Sample]:
    """A sample cut into as few patches as cover it, none larger than `size` and no two overlapping.

    They are about equal: 1000 px and `size` 256 make four of 250, where patches of just 256 would leave
    232 px over. `meta` keeps the image they come from, for splits.
    """
    edges = [
        np.linspace(0, length, math.ceil(length / size) + 1).round().astype(int).tolist()
        for length in sample.shape
    ]
    return [
        sample.crop(top, left, bottom - top, right - left)
        for top, bottom in pairwise(edges[0])
        for left, right in pairwise(edges[1])
    ]
