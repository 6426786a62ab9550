"""Supervised Mask R-CNN: its targets and losses by hand, what it may not learn from, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nucbook.data.batch import Batch
from nucbook.data.tissue import simulate
from nucbook.metrics import evaluate
from nucbook.networks.maskrcnn import MASK
from nucbook.papers.baselines import maskrcnn
from nucbook.papers.baselines.maskrcnn import masks_of, truth_of
from nucbook.papers.baselines.maskrcnn_losses import (
    box_loss,
    classification_loss,
    mask_loss,
    objectness_loss,
)
from nucbook.profile import change
from nucbook.sample import Sample
from nucbook.segmenter import Segmenter, train
from nucbook.targets import region_masks
from nucbook.training.prepare import Models

TINY = change(
    maskrcnn.Config.quick(),
    {"crop": 64, "batch": 2, "steps": 2, "width": 16, "box_width": 16, "precision": "no"},
)


def batch_of(labels, **maps):
    labels = torch.as_tensor(labels, dtype=torch.int32)[None]
    valid = torch.ones_like(labels, dtype=torch.bool)
    image = torch.rand(1, 3, *labels.shape[1:], generator=torch.Generator().manual_seed(0))
    return Batch(image, valid, instances=labels, **maps)


def two():
    """A nucleus of 12 × 16 px, and one of which the crop sees two columns."""
    labels = np.zeros((64, 64), np.int32)
    labels[10:22, 20:36], labels[40:52, 62:] = 5, 9
    return labels


def test_boxes_are_those_of_the_nuclei_and_slivers_are_neither():
    truth = truth_of(batch_of(two()))
    assert truth.boxes[0].tolist() == [[20, 10, 36, 22]]
    assert truth.ids[0].tolist() == [5]
    assert not truth.known[0, 40:52, 62:].any()
    assert truth.known.sum() == 64 * 64 - 24


def test_what_nobody_outlined_is_unknown():
    batch = batch_of(two())
    outlined = torch.zeros(1, 64, 64, dtype=torch.bool)
    outlined[:, :32] = True
    batch.maps["annotated"] = outlined
    assert not truth_of(batch).known[:, 32:].any()


def test_masks_are_read_at_the_centres_of_cells():
    labels = torch.as_tensor(two())[None]
    where = lambda *box: region_masks(labels, torch.tensor([0]), torch.tensor([box]), torch.tensor([5]), 4)
    assert where(20.0, 10.0, 36.0, 22.0).all()
    assert where(12.0, 10.0, 28.0, 22.0)[0, 0].tolist() == [False, False, True, True]
    assert not where(20.0, 30.0, 36.0, 42.0).any()
    assert where(20.0, -6.0, 36.0, 14.0).any()  # beyond the map
    assert region_masks(labels, torch.zeros(0).long(), torch.zeros(0, 4), torch.zeros(0), 4).shape == (
        0,
        4,
        4,
    )


def test_losses_by_hand():
    logits, truth = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])
    expected = (np.log(2) + np.log(1 + np.exp(2))) / 2
    assert objectness_loss(logits, truth).item() == pytest.approx(expected)
    pairs = torch.tensor([[0.0, 0.0], [1.0, 3.0]])
    assert classification_loss(pairs, torch.tensor([0, 1])).item() == pytest.approx(
        (np.log(2) + np.log(1 + np.exp(-2))) / 2
    )
    moves = torch.tensor([[0.0, 0.0, 1.0, 0.05]])
    expected = (1 - 1 / 18) + 0.05**2 * 9 / 2  # linear beyond a ninth, quadratic below
    assert box_loss(moves, torch.zeros(1, 4), 8).item() == pytest.approx(expected / 8)
    mask, weight = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    target = torch.ones(1, 2, 2)
    assert mask_loss(mask, target).item() == pytest.approx(np.log(2))
    mask[0, 1] = -50  # of no weight
    assert mask_loss(mask, target, weight).item() == pytest.approx(np.log(2))


def test_losses_of_nothing_are_zero_with_a_gradient():
    empty = [torch.zeros(0, requires_grad=True), torch.zeros(0, 2, requires_grad=True)]
    moves, masks = torch.zeros(0, 4, requires_grad=True), torch.zeros(0, 4, 4, requires_grad=True)
    losses = [
        objectness_loss(empty[0], torch.zeros(0)),
        classification_loss(empty[1], torch.zeros(0).long()),
        box_loss(moves, torch.zeros(0, 4), 0),
        mask_loss(masks, torch.zeros(0, 4, 4)),
        mask_loss(masks, torch.zeros(0, 4, 4), torch.zeros(0, 4, 4)),
    ]
    assert [loss.item() for loss in losses] == [0] * 5
    sum(losses).backward()


@pytest.mark.parametrize("labels", [np.zeros((64, 64)), np.ones((64, 64)), two()])
def test_a_step_is_finite_and_reaches_every_weight(labels):
    torch.manual_seed(0)
    network = maskrcnn.build(TINY)
    losses = maskrcnn.step(Models({"maskrcnn": network}), batch_of(labels))
    sum(losses.values()).backward()
    assert set(losses) == {"objectness", "anchor", "class", "box", "mask"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    reached = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None}
    assert reached == {"encoder", "pyramid", "rpn", "roi", "mask_head", "mask_predictor"}


def test_nothing_is_learnt_where_all_is_invalid():
    batch = batch_of(np.zeros((64, 64)))
    batch.valid[:] = False
    network = maskrcnn.build(TINY)
    losses = maskrcnn.step(Models({"maskrcnn": network}), batch)
    assert all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_mask_loss_is_that_of_the_right_nucleus():
    """Masks that are right at every region leave no loss."""
    batch = batch_of(two())
    predicted = maskrcnn.build(TINY)(batch.image, truth_of(batch))
    inside = masks_of(batch, predicted.regions, MASK)
    assert inside.any()
    sure = torch.where(inside, 50.0, -50.0)
    assert mask_loss(sure, inside).item() == pytest.approx(0, abs=1e-6)
    assert F.mse_loss(inside.float().mean((1, 2)), torch.ones(len(inside))) < 0.6


def test_the_schedule_and_the_rate_are_the_papers():
    """50 epochs of which the 15th is taken; two crops a step have an eighth of the rate of sixteen."""
    config = maskrcnn.Config.paper("cryonuseg")
    samples = [Sample(np.zeros((512, 512, 3), np.uint8), np.zeros((512, 512), np.int32))] * 18
    assert maskrcnn.steps(config, samples) == 15 * 162 / 2  # nine patches of an image, Table 5
    assert maskrcnn.rate(config) == pytest.approx(0.02 / 8)
    assert maskrcnn.steps(TINY, samples) == 2


def test_of_an_encoder_that_knows_imagenet_statistics_stand_still():
    config = maskrcnn.Config.paper("cryonuseg")
    still = maskrcnn.still(config, "weights")
    assert {"maskrcnn.encoder.conv1", "maskrcnn.encoder.layer1", "maskrcnn.encoder.bn1"} <= set(still)
    assert "maskrcnn.encoder.layer3.0.bn2" in still
    assert maskrcnn.still(config, None) == ()  # they could not be had
    assert maskrcnn.still(TINY, "weights") == ()


def test_a_saved_model_finds_the_same(tmp_path):
    sample = simulate("breast", 96, seed=3)
    segmenter, _ = train("maskrcnn", [sample], TINY, checkpoint=tmp_path / "work", progress=False)
    segmenter.save(tmp_path / "model")
    again = Segmenter.load(tmp_path / "model")
    image = simulate("kidney", 70, seed=4).image
    one, two_ = (found.maps(image) for found in (segmenter, again))
    assert np.array_equal(one.boxes, two_.boxes)
    assert np.array_equal(one.masks, two_.masks)


@pytest.mark.slow
def test_it_overfits_one_image(tmp_path):
    sample = simulate("prostate", 128, seed=5)
    config = change(maskrcnn.Config.quick(), {"steps": 250, "batch": 2, "width": 64, "precision": "no"})
    segmenter, _ = train("maskrcnn", [sample], config, checkpoint=tmp_path, progress=False)
    assert evaluate(sample.instances, segmenter(sample.image).nuclei)["aji"] > 0.8
