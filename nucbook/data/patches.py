"""Crops of samples that already lie on the training device.

Data sets of slides are small (30 images of 1000² are 90 MB), so they stay as uint8 tensors where
the network is, and a batch is read out of them there. Beyond its border an image goes on as its mirror
image, so crops may lie anywhere and every pixel is drawn equally often.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from nucbook.data.batch import Batch, among
from nucbook.data.layers import everywhere, nuclei
from nucbook.sample import Sample


class PatchBank:
    """Samples as tensors on `device`, from which random crops are drawn.

    samples : at least one; where masks are known they become the map `instances`, their ids renumbered.
    maps    : more maps by name, one (H, W) array a sample (Voronoi labels, pseudo labels, …).
    ids     : of those maps that number instances, the first id ({"pseudo": 2}); smaller values are codes.

    An image goes on beyond its border as its mirror image, the border pixel twice. Mirrored
    instances have ids of their own: a nucleus that the border cuts and its mirror image are two.

    Raises ValueError for no samples, samples of which only some have masks or that are annotated nowhere, and
    maps that do not fit.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        device: torch.device | str = "cpu",
        maps: Mapping[str, Sequence[np.ndarray]] | None = None,
        ids: Mapping[str, int] | None = None,
    ):
        if not samples:
            raise ValueError("no samples to draw patches from.")
        self.device, self.ids = torch.device(device), dict(ids or {})
        layers = {name: list(arrays) for name, arrays in (maps or {}).items()}
        for name, arrays in layers.items():
            if [array.shape for array in arrays] != [sample.shape for sample in samples]:
                raise ValueError(f"map {name!r} does not have one (H, W) array of the image's size a sample.")
        if missing := set(self.ids) - set(layers):
            raise ValueError(f"ids are given for {min(missing)!r}, but there is no such map.")
        labelled = {sample.labelled for sample in samples}
        if len(labelled) > 1:
            raise ValueError("some samples have masks and some have none; put them into two banks.")
        self.labelled = labelled == {True}
        if self.labelled:
            layers |= nuclei(samples)
            self.ids |= {name: 1 for name in ("instances", "layers") if name in layers}
        known = [getattr(sample, "annotated", None) for sample in samples]
        self.annotated = None  # int64, where among all pixels centres of crops may lie; None = anywhere
        if any(mask is not None for mask in known):
            layers["annotated"] = everywhere(known, samples)
            self.annotated = torch.from_numpy(
                np.flatnonzero(np.concatenate([m.ravel() for m in layers["annotated"]]))
            )
            if not len(self.annotated):
                raise ValueError("no pixel of the samples is annotated; annotate a region of one.")
        layers["valid"] = everywhere([sample.valid for sample in samples], samples)
        # One after the other, row by row: a pixel of any sample has one place in one long tensor.
        flat = lambda arrays: np.concatenate([a.reshape(*a.shape[:-2], -1) for a in arrays], -1)
        stored = lambda arrays: torch.from_numpy(flat(arrays)).to(self.device)
        self.image = stored([sample.image.transpose(2, 0, 1) for sample in samples])  # (3, P)
        self.layers = {name: stored(arrays) for name, arrays in layers.items()}  # (P,), or (L, P)
        self.largest = {name: int(self.layers[name].max()) for name in self.ids}
        kind = torch.int32 if self.image.shape[1] < 2**31 else torch.int64
        self.shapes = torch.tensor([sample.shape for sample in samples], dtype=kind)
        areas = self.shapes.prod(1)
        self.first = (areas.cumsum(0) - areas).to(kind)
        self.weights = areas.float()  # a pixel of a large image is as likely as one of a small image

    def __len__(self) -> int:
        return len(self.shapes)

    def draw(self, count: int, generator: torch.Generator) -> Places:
        """`count` random places for the centres of crops, anywhere in the images.

        As the plane is filled with mirror images, crops of any size and shape that are turned at random
        hold every pixel equally often. Where samples are annotated in part, centres lie in annotated pixels,
        and crops show what is round them, too.
        """
        if self.annotated is not None:
            pixel = self.annotated[torch.randint(len(self.annotated), (count,), generator=generator)]
            which = torch.searchsorted(self.first.long(), pixel, right=True) - 1
            within, width = pixel - self.first[which], self.shapes[which, 1]
            centres = torch.stack([within // width, within % width], 1).float()
            return Places(self, which, centres + torch.rand(count, 2, generator=generator) - 0.5)
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        centres = torch.rand(count, 2, generator=generator) * self.shapes[which] - 0.5
        return Places(self, which, centres)


@dataclass(frozen=True)
class Places:
    """Where crops lie.

    which   : int64 (B,), the sample of each.
    centres : float32 (B, 2), row and column of its centre, pixels; pixel centres are whole numbers.
    """

    bank: PatchBank
    which: Tensor
    centres: Tensor

    def __len__(self) -> int:
        return len(self.which)

    def read(self, offsets: Tensor, size: int) -> Batch:
        """The samples' values at `offsets` from the centres.

        offsets : float (B, 2, C, C), rows and columns, pixels, on the bank's device; C >= `size`. The
                  middle of `size` px becomes the crop; all of it becomes `context`, if masks are known.
        Returns float images in [0, 1], linear between pixels, and maps of the nearest pixel.
        """
        bank, margin = self.bank, (offsets.shape[-1] - size) // 2
        centre = lambda tensor: tensor[..., margin : margin + size, margin : margin + size].contiguous()
        on_device = lambda values: values[self.which].to(bank.device)
        first, shape = on_device(bank.first)[:, None, None], on_device(bank.shapes)
        height, width = shape.T[..., None, None]
        index = lambda rows, columns: first + rows * width + columns  # int (B, h, w), of pixels in the bank

        where, tile = _mirrored(self.centres.to(bank.device)[..., None, None] + offsets, shape)
        pixel = where.round().clamp_(min=0).minimum(shape[..., None, None] - 1)
        nearest = index(*pixel.to(first.dtype).unbind(1))
        maps = {}
        if bank.labelled:
            maps["context"] = self._read("instances", nearest, tile)
            maps["instances"] = centre(maps["context"])
        where, nearest, tile = centre(where), centre(nearest), centre(tile)
        for name in bank.layers:
            if name != "instances":
                maps[name] = self._read(name, nearest, tile)
        if bank.labelled:
            maps["whole"] &= ~_leaving(maps["context"], maps["instances"])
        if "layers" in maps:
            maps["layers"] = maps["layers"].movedim(0, 1)

        corner = where.floor()
        down, right = (where - corner).unbind(1)  # (B, size, size)
        top, left = corner.to(first.dtype).unbind(1)
        bottom, far = torch.minimum(top + 1, height - 1), torch.minimum(left + 1, width - 1)
        top, left = top.clamp(min=0), left.clamp(min=0)
        colour = lambda rows, columns: _taken(bank.image, index(rows, columns)).float()  # (3, B, size, size)
        upper = torch.lerp(colour(top, left), colour(top, far), right)
        lower = torch.lerp(colour(bottom, left), colour(bottom, far), right)
        image = torch.lerp(upper, lower, down) / 255
        return Batch(image.movedim(0, 1).contiguous(), **maps)

    def _read(self, name: str, index: Tensor, tile: Tensor) -> Tensor:
        values = _taken(self.bank.layers[name], index)
        if name not in self.bank.ids:
            return values
        first, largest = self.bank.ids[name], self.bank.largest[name]
        return torch.where(values >= first, values + (tile * largest).to(values.dtype), values)


def _taken(values: Tensor, index: Tensor) -> Tensor:
    """The values (P,) or (N, P) at an index (B, h, w), as (B, h, w) or (N, B, h, w)."""
    if values.ndim == 2:  # much faster than index_select along the last of two dimensions
        return torch.stack([_taken(row, index) for row in values])
    return values.index_select(0, index.flatten()).view(index.shape)


def _mirrored(where: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """Positions (B, 2, h, w) in the plane of mirror images, led back into images of `shape` (B, 2).

    Returns float positions in [-0.5, length - 0.5], and int32 (B, h, w): the number of the copy each lay in,
    0 the image itself.
    """
    shape = shape[..., None, None].float()
    length = (where + 0.5).div_(shape)  # from the border, in lengths of the image
    tile = length.floor()
    where = (length - 2 * (length / 2).round()).abs_().mul_(shape).sub_(0.5)
    tile = tile.mul_(2).sub_(0.5).abs_().sub_(0.5).int()  # 0, 1, -1, 2, … to 0, 1, 2, 3, …
    return where, tile[:, 0] * (tile.amax() + 1) + tile[:, 1]


def _leaving(context: Tensor, labels: Tensor) -> Tensor:
    """Which pixels (B, H, W) are of an instance that reaches the edge of its context (B, C, C)."""
    edge = torch.cat([context[:, [0, -1]].flatten(1), context[:, :, [0, -1]].flatten(1)], 1)
    return among(labels, edge) & (labels != 0)


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


def overlapping(sample: Sample, size: int, overlap: int) -> list[Sample]:
    """A sample cut into patches of `size` px that cover it, `overlap` px in common at least; see `grid`.

    A side shorter than that is left as it is.
    """
    height, width = (min(size, length) for length in sample.shape)
    return [sample.crop(row, column, height, width) for row, column in grid(sample.shape, size, overlap)]


def covered(shape: tuple[int, int], corners: Iterable[tuple[int, int]], size: int) -> float:
    """The fraction of an image's pixels that lie in at least one of some patches of `size` px.

    corners : first row and column of each.
    """
    seen = np.zeros(shape, bool)
    for row, column in corners:
        seen[row : row + size, column : column + size] = True
    return float(seen.mean())


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
