"""Mask R-CNN: what it is trained by, that its numbers grow with the area, and what may be missing."""

from __future__ import annotations

import pytest
import torch

from nucbook.networks import MaskRCNN
from nucbook.networks.maskrcnn import DETECTION, Truth


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MaskRCNN("resnet18", 3, 16, 32).eval()


def truth(*boxes, known=None, side=96, count=1):
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    ids = torch.arange(1, len(corners) + 1)
    seen = torch.ones(count, side, side, dtype=torch.bool) if known is None else known
    return Truth([corners] * count, [ids] * count, seen)


BOXES = ((10.0, 20.0, 34.0, 40.0), (60.0, 50.0, 84.0, 70.0))


def test_what_is_sampled_is_beside_its_target(network):
    torch.manual_seed(0)
    predicted = network(torch.rand(2, 3, 96, 96), truth(*BOXES, count=2))
    assert predicted.objectness.shape == predicted.is_nucleus.shape
    positive = int(predicted.is_nucleus.sum())
    assert positive > 0
    assert predicted.anchor_moves.shape == predicted.anchor_targets.shape == (positive, 4)
    nuclei = int(predicted.labels.sum())
    assert nuclei >= 4  # the boxes themselves are among the proposals
    assert predicted.logits.shape == (len(predicted.labels), 2)
    assert predicted.moves.shape == predicted.targets.shape == predicted.regions.boxes.shape == (nuclei, 4)
    assert predicted.masks["mask"].shape == (nuclei, 28, 28)
    assert set(predicted.regions.image.tolist()) == {0, 1}
    assert set(predicted.regions.ids.tolist()) == {1, 2}


def test_a_region_belongs_to_the_nucleus_it_covers(network):
    predicted = network(torch.rand(1, 3, 96, 96), truth(*BOXES))
    middle = (predicted.regions.boxes[:, 0] + predicted.regions.boxes[:, 2]) / 2
    assert torch.equal(predicted.regions.ids, torch.where(middle < 48, 1, 2))


@pytest.mark.parametrize("sample", [128, 400])
def test_regions_that_train_the_heads_grow_with_the_area(sample):
    torch.manual_seed(0)
    network = MaskRCNN("resnet18", 3, 16, 32, sample=sample)
    for side in (96, 192):
        predicted = network(torch.rand(2, 3, side, side), truth(*BOXES, side=side, count=2))
        assert len(predicted.labels) == 2 * max(16, side**2 // sample)


def test_background_is_not_learnt_where_truth_is_unknown(network):
    known = torch.zeros(1, 96, 96, dtype=torch.bool)
    known[:, :, :48] = True
    torch.manual_seed(0)
    everywhere = network(torch.rand(1, 3, 96, 96), truth(BOXES[0]))
    torch.manual_seed(0)
    half = network(torch.rand(1, 3, 96, 96), truth(BOXES[0], known=known))
    assert len(half.objectness) <= len(everywhere.objectness)
    nothing = network(torch.rand(1, 3, 96, 96), truth(known=torch.zeros(1, 96, 96, dtype=torch.bool)))
    assert len(nothing.objectness) == len(nothing.labels) == 0


def test_images_without_a_nucleus_teach_background(network):
    predicted = network(torch.rand(1, 3, 96, 96), truth())
    assert len(predicted.objectness) > 0
    assert not predicted.is_nucleus.any()
    assert not predicted.labels.any()
    assert predicted.masks["mask"].shape == (0, 28, 28)


@pytest.mark.parametrize("shape", [(96, 96), (50, 71), (17, 200), (8, 8)])
def test_any_size_gives_boxes_inside_the_image(network, shape):
    with torch.inference_mode():
        found = network(torch.rand(2, 3, *shape), score=0.0)
    assert len(found) == 2
    for own in found:
        assert own.masks.shape == (len(own.boxes), 28, 28)
        assert (own.boxes >= 0).all()
        assert (own.boxes[:, [0, 2]] <= shape[1]).all()
        assert (own.boxes[:, [1, 3]] <= shape[0]).all()
        assert (own.scores.diff() <= 0).all()
        assert ((own.masks >= 0) & (own.masks <= 1)).all()


def test_strides_are_those_of_the_maps_however_much_is_padded():
    """40 px are padded to 64 by an encoder of stride 32: 16 cells of its finest map are a quarter of that."""
    network = MaskRCNN("resnet18", 5, 16, 32).eval()
    with torch.inference_mode():
        network(torch.rand(1, 3, 40, 40), score=0.0)
    assert network.roi.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert network.mask_pool.scales == network.roi.box_roi_pool.scales


def test_detections_grow_with_the_area(network):
    with torch.inference_mode():
        few, many = (len(network(torch.rand(1, 3, side, side), score=0.0)[0].boxes) for side in (64, 256))
    assert few <= max(16, 64**2 // DETECTION)
    assert many > 2 * few


def test_an_enlarged_image_keeps_its_own_coordinates():
    torch.manual_seed(0)
    network = MaskRCNN("resnet18", 3, 16, 32, scale=2.0).eval()
    predicted = network(torch.rand(1, 3, 96, 96), truth(*BOXES))
    middle = (predicted.regions.boxes[:, 0] + predicted.regions.boxes[:, 2]) / 2
    assert torch.equal(predicted.regions.ids, torch.where(middle < 48, 1, 2))
    assert predicted.regions.boxes.max() <= 96
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 50, 71), score=0.0)[0].boxes.max() <= 71
