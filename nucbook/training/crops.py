"""Where a training's crops come from: the same for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from nucbook.data.augment import Colour, Geometry
from nucbook.data.batch import Batch
from nucbook.data.patches import PatchBank
from nucbook.sample import Sample
from nucbook.training.prepare import device, share

Draw = Callable[[torch.Generator], Batch]


def crops(
    samples: Sequence[Sample],
    size: int,
    batch: int,
    maps: Mapping[str, Sequence[np.ndarray]] | None = None,
    colour: Colour | None = None,
    ids: Mapping[str, int] | None = None,
    geometry: Geometry | None = None,
) -> Draw:
    """A function that draws `batch` crops of `size` px, over all processes, turned, scaled and bent.

    maps, ids : as `PatchBank` takes them.
    colour    : of the images; None leaves their colours as they are.
    geometry  : of that size, how crops are turned and bent; None = `Geometry(size)`.

    The samples are put on the training device once, here. Raises ValueError for a batch that the processes
    cannot share evenly, and what `PatchBank` raises.
    """
    geometry, bank, count = geometry or Geometry(size), PatchBank(samples, device(), maps, ids), share(batch)

    def draw(generator: torch.Generator) -> Batch:
        drawn = geometry(bank.draw(count, generator), generator)
        if colour is not None:
            drawn.image = colour(drawn.image, generator)
        return drawn

    return draw
