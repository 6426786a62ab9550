"""A batch: images and maps that share one geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


class Batch:
    """Tensors that share one geometry, read as attributes.

    image : uint8 or float (B, 3, H, W).
    valid : bool (B, H, W), False in regions that no loss may count.
    maps  : by name, (B, H, W) each: `batch.instances`, `batch.voronoi`, …

    Five maps are there in any case, with these values where nothing else is known:
    context   : int (B, H + 2 m, W + 2 m), the label map `instances` with m more pixels on each side;
                `instances` itself.
    whole     : bool, False in nuclei that their image or the context cuts: their extent is unknown, so
                they are foreground, but no loss may use their distance or HV maps; True.
    annotated : bool, False where nuclei may lie that nobody outlined; True.
    classes   : int, class id of the nucleus, 0 where unknown and in the background; 0.
    layers    : int (B, L, H, W), instances where they overlap, each on one layer; `instances` alone.
    """

    def __init__(self, image: Tensor, valid: Tensor, **maps: Tensor):
        self.image, self.valid, self.maps = image, valid, maps

    def __getattr__(self, name: str) -> Tensor:
        maps = self.__dict__.get("maps", {})
        if name in maps:
            return maps[name]
        if name in ("whole", "annotated"):
            return torch.ones_like(self.valid)
        if "instances" in maps:
            if name == "context":
                return self.instances
            if name == "classes":
                return torch.zeros_like(self.instances)
            if name == "layers":
                return self.instances[:, None]
        names = ", ".join(maps) or "none"
        raise AttributeError(f"this batch has no map {name!r}; its maps are {names}.")

    def centre(self, tensor: Tensor) -> Tensor:
        """The crop (…, H, W) out of the middle of a tensor that covers the context."""
        height, width = self.valid.shape[-2:]
        top, left = (tensor.shape[-2] - height) // 2, (tensor.shape[-1] - width) // 2
        return tensor[..., top : top + height, left : left + width]

    def target(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of label maps, such as `targets.hv_maps`, of the crop's nuclei as if the crop cut none.

        It is computed on the context, without the nuclei that the crop does not see. So the values of a
        nucleus that is `whole` are those of the uncut one. Returns what the function does, cut to (…, H, W).
        """
        context = self.context
        if context.shape == self.valid.shape:
            return function(context)
        return self.centre(function(torch.where(among(context, self.instances), context, 0)))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        move = lambda tensor: tensor.to(device, non_blocking=non_blocking)
        return Batch(move(self.image), move(self.valid), **{name: move(m) for name, m in self.maps.items()})

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def concatenate(cls, batches: Sequence[Batch]) -> Batch:
        """All crops of `batches`, which are of one size; where one lacks a map of another, its default."""
        names = dict.fromkeys(name for batch in batches for name in batch.maps)
        maps = {name: [getattr(batch, name) for batch in batches] for name in names}
        if "layers" in maps:
            most = max(layers.shape[1] for layers in maps["layers"])
            maps["layers"] = [F.pad(m, (0, 0, 0, 0, 0, most - m.shape[1])) for m in maps["layers"]]
        join = lambda name: torch.cat([getattr(batch, name) for batch in batches])
        return cls(join("image"), join("valid"), **{name: torch.cat(parts) for name, parts in maps.items()})


def among(labels: Tensor, chosen: Tensor) -> Tensor:
    """Which pixels (B, H, W) have one of the ids `chosen` (B, …) of their own image."""
    most = labels.amax().maximum(chosen.amax()) + 1
    image = torch.arange(len(labels), device=labels.device, dtype=labels.dtype) * most
    known = torch.zeros(len(labels) * int(most), dtype=torch.bool, device=labels.device)
    known[(chosen.flatten(1) + image[:, None]).flatten().long()] = True
    return known.index_select(0, (labels + image[:, None, None]).flatten()).view(labels.shape)
