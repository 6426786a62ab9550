"""Geometry moves image and labels together; colour leaves shapes alone."""

import numpy as np
import pytest
import torch

from nucbook.data.augment import Colour, Geometry
from nucbook.data.patches import Batch, PatchBank
from nucbook.sample import Sample


def dark_discs(size=200):
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for i in range(16):
        labels[(rows - 25 - 50 * (i // 4)) ** 2 + (columns - 25 - 50 * (i % 4)) ** 2 < 12**2] = 1000 + i
    image = np.where(labels > 0, 40, 230).astype(np.uint8)
    return Sample(np.dstack([image] * 3), labels)


def draw(geometry, count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return geometry(PatchBank([dark_discs()], geometry.source_size).draw(count, generator), generator)


@pytest.mark.parametrize(
    "geometry", [Geometry(64), Geometry(64, bend=0, shear=0), Geometry(64, scale=(1.5, 2.0))]
)
def test_labels_stay_on_their_nuclei(geometry):
    batch = draw(geometry)
    assert batch.image.shape == (6, 3, 64, 64)
    assert batch.instances.shape == batch.valid.shape == (6, 64, 64)
    assert batch.valid.dtype == torch.bool
    dark = batch.image[:, 0] < 135 / 255
    assert (dark == (batch.instances > 0)).float().mean() > 0.97
    assert set(batch.instances.unique().tolist()) <= {0, *range(1000, 1016)}


def test_scale_is_the_size_of_the_nuclei():
    area = lambda scale: (draw(Geometry(100, (scale, scale), 0, 0), 8).instances > 0).float().mean().item()
    ids = lambda scale: len(draw(Geometry(100, (scale, scale), 0, 0), 8).instances.unique())
    assert area(1.0) == pytest.approx(area(0.8), abs=0.06)  # as dense, whatever the scale
    assert ids(0.8) >= ids(1.6)


def test_outside_is_white_and_invalid():
    ink = Batch(
        torch.zeros(1, 3, 20, 20, dtype=torch.uint8),
        torch.ones(1, 20, 20, dtype=torch.bool),
        instances=torch.ones(1, 20, 20, dtype=torch.int32),
    )
    batch = Geometry(40, (1, 1), 0, 0)(ink, torch.Generator().manual_seed(0))
    outside = ~batch.valid[0]
    assert 0.6 < outside.float().mean() < 0.8
    assert (batch.instances[0][outside] == 0).all()
    assert batch.image[0, 0, 0, 0] == 1


def test_the_generator_decides():
    first, again, other = (draw(Geometry(32), seed=seed).image for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_colour_changes_colour_and_keeps_range_and_shapes():
    image = draw(Geometry(64)).image
    changed = Colour()(image, torch.Generator().manual_seed(0))
    assert changed.shape == image.shape
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert (changed - image).abs().mean() > 0.01
    grey = lambda x: (x.mean(1) - x.mean((1, 2, 3))[:, None, None]).flatten(1)
    assert torch.nn.functional.cosine_similarity(grey(image), grey(changed)).min() > 0.9
    assert torch.equal(changed, Colour()(image, torch.Generator().manual_seed(0)))


def test_colour_at_zero_changes_nothing():
    image = draw(Geometry(32)).image.clamp(min=1 / 255)
    still = Colour(stain=0, tilt=0, offset=0, blur=0, noise=0)(image, torch.Generator())
    assert torch.allclose(still, image, atol=1e-4)
