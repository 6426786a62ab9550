"""Random crops of samples, augmented: what every training draws its batches from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from nucbook.data.augment import Colour, Geometry
from nucbook.data.patches import Batch, PatchBank
from nucbook.sample import Sample
from nucbook.training.prepare import device, share

Draw = Callable[[torch.Generator], Batch]


def crops(
    samples: Sequence[Sample],
    size: int,
    batch: int,
    maps: Mapping[str, Sequence[np.ndarray]] | None = None,
    colour: Colour | None = None,
) -> Draw:
    """Draws batches of crops, moved and bent at random; a function of a generator, as `fit` takes.

    size   : px, side of a crop.
    batch  : crops a step, over all processes.
    maps   : more maps by name, one (H, W) array a sample.
    colour : how the crops are recoloured; None leaves their colours as they are.
    """
    geometry = Geometry(size)
    bank = PatchBank(samples, geometry.source_size, device(), maps)

    def draw(generator: torch.Generator) -> Batch:
        drawn = geometry(bank.draw(share(batch), generator), generator)
        if colour is not None:
            drawn.image = colour(drawn.image, generator)
        return drawn

    return draw
