"""The crops of a training: where they lie, how many, in which colours."""

import numpy as np
import pytest
import torch

from nucbook.data.augment import Colour
from nucbook.data.tissue import simulate
from nucbook.training.crops import crops
from nucbook.training.prepare import device

SAMPLES = [simulate("breast", 96, seed=seed) for seed in (0, 1)]


def test_crops_are_drawn_on_the_device_and_the_generator_decides():
    draw = crops(SAMPLES, 48, 3)
    first, again, other = (draw(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.image.shape == (3, 3, 48, 48)
    assert first.image.device.type == device().type
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.instances, again.instances)
    assert not torch.equal(first.image, other.image)
    assert first.context.shape[-1] > 48


def test_colour_changes_the_image_alone():
    plain, coloured = (
        crops(SAMPLES, 48, 3, colour=colour)(torch.Generator().manual_seed(1)) for colour in (None, Colour())
    )
    assert torch.equal(plain.instances, coloured.instances)
    assert not torch.equal(plain.image, coloured.image)
    assert coloured.image.min() >= 0
    assert coloured.image.max() <= 1


def test_maps_come_along():
    semantic = [1 + (sample.label_map > 0) for sample in SAMPLES]
    numbered = [1 + sample.label_map for sample in SAMPLES]
    maps = {"semantic": semantic, "numbered": numbered}
    batch = crops(SAMPLES, 48, 8, maps=maps, ids={"numbered": 2})(torch.Generator().manual_seed(0))
    assert torch.equal(batch.semantic == 2, batch.instances > 0)
    assert torch.equal(batch.numbered == 1, batch.instances == 0)
    for ours, theirs in zip(batch.numbered, batch.instances):  # the same nuclei, mirrored ones included
        pairs = np.unique(np.stack([ours.cpu().ravel(), theirs.cpu().ravel()]), axis=1)
        assert pairs.shape[1] == len(theirs.unique()) == len(ours.unique())


def test_no_samples_no_crops():
    with pytest.raises(ValueError, match="no samples"):
        crops([], 48, 3)
