"""HoVer-Net's decoding beside its steps written out plainly, and on maps whose answer is known."""

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.segmentation import watershed

from nucbook import targets
from nucbook.data.tissue import ORGANS, simulate
from nucbook.instances.hovernet import decode, decode_batch
from nucbook.metrics import evaluate


def maps(labels):
    """The true mask and HV maps of a label map (H, W)."""
    hv = targets.hv_maps(torch.from_numpy(labels)[None])[0].numpy()
    return (labels > 0).astype(np.float32), hv


def noisy(labels, seed=0):
    """Maps as a half-trained network gives them: blurred, and rough within nuclei and outside."""
    generator = np.random.default_rng(seed)
    rough = lambda values: cv2.GaussianBlur(values + generator.normal(0, 1, values.shape), (0, 0), 2)
    probability, hv = maps(labels)
    return rough(probability), np.stack([rough(values) for values in hv])


def discs(*circles, shape=(80, 120)):
    """Label map of (row, column, radius) painted in turn."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for i, (row, column, radius) in enumerate(circles, start=1):
        labels[((rows - row) ** 2 + (columns - column) ** 2 < radius**2) & (labels == 0)] = i
    return labels


def same_partition(first, second):
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(first)) == len(np.unique(second))


def step_by_step(probability, hv):
    """The steps as they are described, whole images in double precision, nothing left out."""

    def without_small(labels):
        keep = np.bincount(labels.ravel()) >= 10
        keep[0] = False
        return labels * keep[labels]

    def unit(values):
        return (values - values.min()) / np.ptp(values)

    blob = (without_small(ndimage.label(probability >= 0.5)[0]) > 0).astype(float)
    horizontal, vertical = (unit(values.astype(float)) for values in hv)
    right = unit(cv2.Sobel(horizontal, cv2.CV_64F, 1, 0, ksize=21))
    down = unit(cv2.Sobel(vertical, cv2.CV_64F, 0, 1, ksize=21))
    overall = np.clip(np.maximum(1 - right, 1 - down) - (1 - blob), 0, None)
    marker = np.clip(blob - (overall >= 0.4), 0, None)
    marker = ndimage.binary_fill_holes(marker).astype(np.uint8)
    marker = cv2.morphologyEx(marker, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    marker = without_small(ndimage.label(marker)[0])
    return watershed(-cv2.GaussianBlur((1 - overall) * blob, (3, 3), 0), marker, mask=blob > 0)


@pytest.mark.parametrize("organ", ["liver", "lung", "bladder"])
@pytest.mark.parametrize("quality", [maps, noisy])
def test_finds_what_the_plain_steps_find(organ, quality):
    probability, hv = quality(simulate(organ, 384, seed=1).instances)
    found = decode(probability, hv)
    assert found.dtype == np.int32
    assert found.max() > 10
    assert same_partition(found, step_by_step(probability, hv))
    assert set(np.unique(found)) == set(range(found.max() + 1))


@pytest.mark.parametrize("organ", ORGANS)
def test_true_maps_give_the_true_nuclei_back(organ):
    labels = simulate(organ, 512, seed=1).instances
    assert evaluate(labels, decode(*maps(labels)))["aji_plus"] > 0.95


def test_touching_nuclei_are_parted_where_they_touch():
    labels = discs((20, 20, 13), (20, 45, 13), (42, 32, 13), (60, 90, 14))
    assert ndimage.label(labels > 0)[1] == 2  # as a mask, three of them are one
    found = decode(*maps(labels))
    assert found.max() == 4
    assert evaluate(labels, found)["aji_plus"] > 0.97


def test_small_components_are_dropped_and_ids_close_up():
    labels = discs((8, 8, 1.5), (30, 40, 12), (60, 90, 12))  # the first has 9 px
    assert (labels == 1).sum() == 9
    assert same_partition(decode(*maps(labels)), np.where(labels == 1, 0, labels))


def test_one_small_nucleus_at_the_border_changes_what_is_found_elsewhere():
    large, small = discs((40, 30, 24), (40, 90, 24)), discs((75, 60, 7)) > 0
    assert decode(*maps(large)).max() == 2
    found = decode(*maps(np.where(small, 3, large)))  # beside so steep a climb theirs seem flat
    assert not found[large > 0].any()
    assert (found[small] == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (16, 16), (64, 48)])
def test_nothing_everything_and_flat_maps(shape):
    nothing, everything, flat = np.zeros(shape), np.ones(shape), np.full((2, *shape), 0.3)
    slopes = np.random.default_rng(0).random((2, *shape))
    for probability, hv in ((nothing, flat), (everything, flat), (nothing, slopes)):
        found = decode(probability, hv)
        assert found.shape == shape
        assert found.dtype == np.int32
        assert not found.any()


def test_one_giant_instance_stays_one():
    found = decode(*maps(np.ones((200, 300), np.int32)))
    assert found.max() == 1
    assert (found == 1).mean() == 1


def test_an_image_without_pixels():
    assert decode(np.zeros((0, 5)), np.zeros((2, 0, 5))).shape == (0, 5)


def test_a_batch_is_its_images_one_by_one():
    images = [simulate("liver", 128, seed=seed).instances for seed in range(3)]
    images.append(np.zeros((128, 128), np.int32))
    probability, hv = (np.stack(both) for both in zip(*map(maps, images)))
    found = decode_batch(probability, hv)
    assert found.dtype == np.int32
    assert np.array_equal(found, np.stack([decode(p, m) for p, m in zip(probability, hv)]))
    assert not found[3].any()
    assert decode_batch(probability[:0], hv[:0]).shape == (0, 128, 128)


def test_refusals():
    probability, hv = np.ones((2, 6, 7)), np.zeros((2, 2, 6, 7))
    with pytest.raises(ValueError, match=r"probability is \(6, 7\), hv \(2, 7, 6\); expected \(H, W\) and"):
        decode(probability[0], hv[0].transpose(0, 2, 1))
    with pytest.raises(ValueError, match=r"probability is \(2, 6, 7\)"):
        decode(probability, hv)
    with pytest.raises(ValueError, match="probability has 2 images, hv 1"):
        decode_batch(probability, hv[:1])
    hv[1, 0, 3, 3] = np.nan
    with pytest.raises(ValueError, match="hv is not finite everywhere; look at what the network gave"):
        decode(probability[1], hv[1])
    with pytest.raises(ValueError, match="image 1: hv is not finite"):
        decode_batch(probability, hv)
    probability[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="image 0: probability is not finite"):
        decode_batch(probability, hv)
