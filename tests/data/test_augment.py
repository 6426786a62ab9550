"""Geometry moves image and labels together; colour leaves shapes alone."""

import numpy as np
import pytest
import torch

from nucbook.data.augment import Colour, Geometry, unbent
from nucbook.data.patches import PatchBank
from nucbook.sample import Sample
from nucbook.targets import boundaries, hv_maps, normalised_distance_maps


def dark_discs(size=200):
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for i in range(16):
        labels[(rows - 25 - 50 * (i // 4)) ** 2 + (columns - 25 - 50 * (i % 4)) ** 2 < 12**2] = 1000 + i
    image = np.where(labels > 0, 40, 230).astype(np.uint8)
    return Sample(np.dstack([image] * 3), labels)


def draw(geometry, count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return geometry(PatchBank([dark_discs()]).draw(count, generator), generator)


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
    assert batch.valid.all()
    for labels in batch.instances:  # no nucleus shares an id with its mirror image
        ids, sizes = labels.unique(return_counts=True)
        assert sizes[ids > 0].max() < 2.2**2 * np.pi * 12**2


@pytest.mark.parametrize("side", [64, 65])
@pytest.mark.parametrize("turned", [True, False])
def test_crops_that_are_not_bent_are_windows_of_the_image(side, turned):
    """Turned by right angles and flipped, or as they lie; no pixel is interpolated."""
    rows, columns = np.mgrid[:100, :120]
    image = np.dstack([rows, columns, (7 * rows + 11 * columns) % 251]).astype(np.uint8)
    generator = torch.Generator().manual_seed(0)
    crops = unbent(side, turned)(PatchBank([Sample(image)]).draw(40, generator), generator).image * 255
    assert (crops - crops.round()).abs().max() < 1e-2
    down, right = crops[:, :, 1, 0] - crops[:, :, 0, 0], crops[:, :, 0, 1] - crops[:, :, 0, 0]
    steps = {tuple(step.round().int().tolist()) for step in torch.cat([down[:, :2], right[:, :2]])}
    inside = {(1, 0), (0, 1)} | ({(-1, 0), (0, -1)})  # the mirror image beyond the border goes backwards
    assert steps <= inside | {(0, 0)}
    along_rows = (down[:, 0].abs().round() == 1).float().mean()
    assert (0.2 < along_rows < 0.8) if turned else (down[:, 1].abs().max() < 0.5)


def test_scale_is_the_size_of_the_nuclei():
    area = lambda scale: (draw(Geometry(100, (scale, scale), 0, 0), 8).instances > 0).float().mean().item()
    ids = lambda scale: len(draw(Geometry(100, (scale, scale), 0, 0), 8).instances.unique())
    assert area(1.0) == pytest.approx(area(0.8), abs=0.06)  # as dense, whatever the scale
    assert ids(0.8) >= ids(1.6)


def test_the_crop_is_the_middle_of_its_context():
    batch = draw(Geometry(64, margin=20))
    assert batch.context.shape == (6, 104, 104)
    assert torch.equal(batch.context[:, 20:84, 20:84], batch.instances)
    unlabelled = PatchBank([dark_discs().weaken("nothing")])
    generator = torch.Generator().manual_seed(0)
    assert not Geometry(64)(unlabelled.draw(2, generator), generator).maps


@pytest.mark.parametrize("target", [hv_maps, normalised_distance_maps, boundaries])
def test_a_nucleus_that_the_crop_cuts_has_the_targets_of_the_uncut_one(target):
    """The crop of 64 px is the middle of one of 128 px: what that shows of a nucleus is all of it."""
    small, large = (draw(Geometry(size, margin=margin)) for size, margin in ((64, 32), (128, 0)))
    inside = np.s_[..., 32:96, 32:96]
    assert torch.equal(small.instances, large.instances[inside])
    counted = small.whole & (small.instances > 0)
    counted = counted[:, None].expand(-1, 2, -1, -1) if target is hv_maps else counted
    found, expected = small.target(target), target(large.instances)[inside]
    assert found.shape == expected.shape
    assert torch.equal(found[counted], expected[counted])
    assert not torch.equal(target(small.instances)[counted], expected[counted]) or target is boundaries


def test_whole_nuclei_are_those_that_neither_image_nor_context_cuts():
    """Discs of one size, none at the border of the image: whole is what has the full area in the context."""
    batch = draw(Geometry(64, (1, 1), 0, 0, margin=16), count=24)
    full = (dark_discs().instances == 1000).sum()
    for labels, context, whole in zip(batch.instances, batch.context, batch.whole):
        for i in labels.unique()[1:]:
            area = (context == i).sum().item()
            marked = whole[labels == i]
            assert marked.all() or not marked.any()
            if marked.any():
                assert area == pytest.approx(full, rel=0.03)
            elif area > 0.97 * full:  # it just touches the edge
                edge = torch.cat([context[[0, -1]].flatten(), context[:, [0, -1]].flatten()])
                assert (edge == i).any()
    assert 0.5 < batch.whole[batch.instances > 0].float().mean() < 1


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
