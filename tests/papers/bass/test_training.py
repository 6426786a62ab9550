"""BASS from teacher to student: pseudo labels, heads, what each loss trains, and bad input."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from nucbook.data.batch import Batch
from nucbook.data.tissue import simulate
from nucbook.instances.boxes import Detections
from nucbook.papers.bass import training
from nucbook.papers.bass.config import HEADS, Config
from nucbook.papers.bass.training import build, pseudo_labels, restored, step, thresholds
from nucbook.profile import change
from nucbook.sample import InvalidSample
from nucbook.segmenter import Segmenter, train
from nucbook.split import Parts
from nucbook.training.fit import total
from nucbook.training.prepare import Models
from nucbook.training.stages import StageRunner

TINY = change(
    Config.quick(),
    {
        "crop": 64,
        "batch": 2,
        "steps": 2,
        "student_steps": 2,
        "width": 16,
        "box_width": 16,
        "contrast_width": 8,
        "precision": "no",
    },
)


@pytest.fixture(scope="module")
def known():
    return [simulate("liver", 96, seed=6)]


@pytest.fixture(scope="module")
def unknown():
    return [simulate("kidney", 96, seed=6).weaken("nothing")]


def batch_of(*samples):
    images = np.stack([sample.image for sample in samples]).transpose(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([sample.instances for sample in samples]))
    valid = torch.ones_like(labels, dtype=torch.bool)
    return Batch(torch.from_numpy(images).float() / 255, valid, instances=labels)


def moved(network, loss):
    """The first parts of the names of the weights that a loss reaches."""
    network.zero_grad()
    loss.backward(retain_graph=True)
    of = lambda name: name.split(".")[0]
    return {of(name) for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}


@pytest.fixture(scope="module")
def stepped(known):
    torch.manual_seed(0)
    network = build(TINY).train()
    return network, step(Models({"maskrcnn": network}), batch_of(*known), TINY)


def test_each_head_is_trained_by_its_losses_alone(stepped):
    network, losses = stepped
    trunk = {"encoder", "pyramid"}
    assert moved(network, losses["nmh"]) == trunk | {"mask_head", "mask_predictor"}
    assert moved(network, losses["lrd"]) == trunk | {"mask_head", "lrd"}
    assert moved(network, losses["contrast"]) == trunk | {"crc", "projector"}
    fused = moved(network, losses["mask"])
    assert fused == trunk | {"mask_head", "mask_predictor", "lrd", "crc", "crc_logit", "fusion"}


@pytest.mark.parametrize("heads", [("nmh",), ("lrd",), ("nmh", "lrd"), ("crc",), HEADS])
def test_any_heads_train_and_predict(heads, known):
    config = change(TINY, {"heads": heads})
    torch.manual_seed(0)
    network = build(config).train()
    losses = step(Models({"maskrcnn": network}), batch_of(*known), config)
    wanted = {"objectness", "anchor", "class", "box", *(set(heads) - {"crc"})}
    wanted |= {"mask"} if len(heads) > 1 or "crc" in heads else set()
    contrast = {"contrast", "watched/defined terms"} if "crc" in heads else set()
    assert set(losses) == wanted | contrast
    total(losses, 0, "student").backward()
    assert all(p.grad is not None for p in network.parameters())
    with torch.inference_mode():
        [found] = network.eval()(batch_of(*known).image, score=0.0)
    assert found.masks.shape[1:] == (28, 28)


def test_an_unknown_head_is_refused():
    with pytest.raises(ValueError, match="choose one or more of 'nmh', 'lrd', 'crc'"):
        build(change(TINY, {"heads": ()}))


def test_crc_sees_some_regions_in_training_and_all_afterwards(known):
    config = change(TINY, {"rois": 3})
    torch.manual_seed(0)
    network = build(config).train()
    batch = batch_of(*known)
    made = network(batch.image, training.truth_of(batch)).masks
    assert len(made["rows"]) == len(made["crc"]) == len(made["mask"]) == 3 < len(made["nmh"])
    with torch.inference_mode():
        [found] = network.eval()(batch.image, score=0.0)
    assert len(found.masks) == len(found.boxes) > 3


def test_the_fused_mask_begins_as_the_mean_of_the_heads(known):
    torch.manual_seed(0)
    network = build(change(TINY, {"heads": ("nmh", "crc")})).train()
    batch = batch_of(*known)
    made = network(batch.image, training.truth_of(batch)).masks
    mean = (made["nmh"][made["rows"]] + made["crc"]) / 2 + network.fusion.bias
    assert torch.allclose(made["mask"], mean, atol=1e-5)


def test_a_prediction_may_be_read_at_any_head(known):
    torch.manual_seed(0)
    models = {"maskrcnn": build(TINY).eval()}
    image = batch_of(*known).image
    config = change(TINY, {"score": 0.0})
    found = {}
    with torch.inference_mode():
        for read in ("mask", *HEADS):
            [found[read]] = training.maps(models, image, change(config, {"read": read}))
    assert found["lrd"].masks.shape[1:] == (14, 14)
    assert all(np.array_equal(own.boxes, found["mask"].boxes) for own in found.values())
    large = torch.from_numpy(np.stack([cv2.resize(own, (28, 28)) for own in found["lrd"].masks.copy()]))
    fused = models["maskrcnn"].fusion
    assert torch.allclose(fused.weight, torch.full_like(fused.weight, 1 / 3))
    between = [torch.from_numpy(found[read].masks) for read in ("nmh", "crc")] + [large]
    low, high = torch.stack(between).amin(0), torch.stack(between).amax(0)
    mean = (torch.from_numpy(found["mask"].masks).logit() - fused.bias.detach()).sigmoid()
    assert ((mean > low - 0.02) & (mean < high + 0.02)).all()


def test_a_head_that_is_not_there_cannot_be_read(known, unknown):
    config = change(TINY, {"heads": ("nmh",), "read": "lrd"})
    with pytest.raises(ValueError, match="read = 'lrd', but the heads are nmh"):
        training.train(StageRunner(seed=0, progress=False), config, Parts(known, unknown))


# -- pseudo labels ------------------------------------------------------------------------------


def squares(scores, shape=(96, 96)):
    """Detections of 12 px, side by side."""
    corners = np.array([[16 * (i % 6), 16 * (i // 6)] for i in range(len(scores))], np.float32).reshape(-1, 2)
    masks = np.ones((len(scores), 28, 28), np.float32)
    return Detections(shape, np.hstack([corners, corners + 12]), np.array(scores, np.float32), masks)


def test_as_many_boxes_are_kept_as_the_labelled_images_let_expect(known, unknown):
    count = len(known[0].truth)
    found = squares(np.linspace(0.95, 0.15, 2 * count))
    chosen = thresholds([found], known)
    [pseudo] = pseudo_labels([found], unknown, chosen.nearest, 0.5)
    assert len(np.unique(pseudo.instances)) - 1 == count
    assert chosen.mean == pytest.approx(chosen.nearest)


def test_counts_may_be_of_the_labelled_images_themselves(known, unknown, tmp_path, monkeypatch):
    """Whose detections are counted decides the threshold; the labelled nuclei are the same."""
    seen = []
    wanted = lambda found, labelled: seen.append([own.shape for own in found]) or thresholds(found, labelled)
    monkeypatch.setattr(training, "thresholds", wanted)
    runner = StageRunner(seed=0, progress=False, folder=tmp_path)
    other = [simulate("kidney", (96, 128), seed=6).weaken("nothing")]
    for counted in ("unlabelled", "labelled"):
        training.train(runner, change(TINY, {"counted": counted}), Parts(known, other))
    assert seen == [[(96, 128)], [(96, 96)]]


def test_pseudo_labels_keep_the_image_and_nothing_else(unknown):
    [pseudo] = pseudo_labels([squares([0.9, 0.4])], unknown, 0.5, 0.5)
    assert np.array_equal(pseudo.image, unknown[0].image)
    assert pseudo.instances.max() == 1
    assert pseudo.instances.sum() == 144


def test_detections_are_kept_to_a_255th(unknown):
    found = squares([0.9])
    found.masks[:] = np.random.default_rng(0).random((28, 28))
    kept = {
        "boxes": found.boxes,
        "scores": found.scores,
        "masks": (found.masks * 255).round().astype(np.uint8),
    }
    again = restored(kept, unknown[0])
    assert np.abs(again.masks - found.masks).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(again.boxes, found.boxes)


# -- the whole ----------------------------------------------------------------------------------


def test_the_whole_repeats_and_never_sees_the_truth_of_the_unlabelled(known, tmp_path):
    hidden = [simulate("kidney", 96, seed=6)]
    runs = [
        training.train(StageRunner(0, tmp_path / name, progress=False), TINY, Parts(known, samples))
        for name, samples in (("a", hidden), ("b", [hidden[0].weaken("nothing")]))
    ]
    one, other = (run.weights["maskrcnn"] for run in runs)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_no_pseudo_label_at_all_leaves_the_labelled_images(known, unknown, tmp_path):
    config = change(TINY, {"box_threshold": 1.0})
    made = training.train(StageRunner(0, tmp_path, progress=False), config, Parts(known, unknown))
    assert all(torch.isfinite(value).all() for value in made.weights["maskrcnn"].values())


def test_rows_that_share_a_teacher_train_it_once(known, unknown, tmp_path):
    runner = StageRunner(0, tmp_path, progress=False)
    for config in (TINY, change(TINY, {"heads": ("nmh",)}), change(TINY, {"pixel_threshold": 0.4})):
        training.train(runner, config, Parts(known, unknown))
    kept = [folder.name.rsplit("-", 1)[0] for folder in tmp_path.iterdir()]
    assert kept.count("baselines.maskrcnn.supervised") == 1
    assert kept.count("bass.training.detect") == 1


def test_a_model_is_saved_and_read(known, unknown, tmp_path):
    segmenter, histories = train("bass", [*known, *unknown], TINY, checkpoint=tmp_path / "w", progress=False)
    segmenter.save(tmp_path / "model")
    image = known[0].image
    one, other = segmenter.maps(image), Segmenter.load(tmp_path / "model").maps(image)
    assert np.array_equal(one.boxes, other.boxes)
    assert np.isfinite(histories["maskrcnn"].rows[-1]["loss"])


def test_it_needs_images_of_either_kind(known, unknown):
    for samples, message in ((known, "every sample has masks"), (unknown, "not one of 1 samples has masks")):
        with pytest.raises(InvalidSample, match=message):
            train("bass", samples, TINY, progress=False)


def test_the_sizes_are_the_papers():
    config = Config.paper("cryonuseg")
    assert (config.student_steps, Config.paper("monuseg622").student_steps) == (90_000, 2_000)
    assert (config.distance, config.sampled, config.contrast, config.pixel_threshold) == (4, 0.7, 1.0, 0.5)
    assert replace(config.maskrcnn, encoder="resnet101").scale == 3.125
