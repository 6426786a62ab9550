"""Watershed decoding on discs whose answer is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import label
from skimage.morphology import local_maxima, reconstruction

from nucbook import targets
from nucbook.instances.watershed import split_by_distance, watershed_from_distance


def discs(*circles, shape=(48, 64)):
    """Label map of (row, column, radius) painted in turn."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    for i, (row, column, radius) in enumerate(circles, start=1):
        labels[((rows - row) ** 2 + (columns - column) ** 2 < radius**2) & (labels == 0)] = i
    return labels


def maps(labels):
    distance = targets.normalised_distance_maps(torch.from_numpy(labels)[None])[0].numpy()
    return (labels > 0).astype(np.float32), distance


def same_partition(first, second):
    pairs = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(first)) == len(np.unique(second))


# -- from what a network predicts ---------------------------------------------------------------


def test_true_maps_give_the_true_nuclei_back():
    labels = discs((14, 14, 10), (14, 32, 10), (34, 20, 9), (40, 56, 12))
    found = watershed_from_distance(*maps(labels), smooth=0)
    assert found.dtype == np.int32
    assert set(np.unique(found)) == {0, 1, 2, 3, 4}
    assert same_partition(found, labels)


@pytest.mark.parametrize(("valley", "count"), [(0.1, 2), (0.15, 2), (0.25, 1)])
def test_a_valley_parts_nuclei_if_it_is_deep_enough(valley, count):
    profile = np.interp(np.arange(41), [0, 10, 20, 30, 40], [0.3, 0.8, 0.5, 0.7, 0.3])  # the valley: 0.2
    found = watershed_from_distance(np.ones((9, 41)), np.tile(profile, (9, 1)), valley=valley, smooth=0)
    assert found.max() == count


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.int32, (12, 13), elements=st.integers(0, 20)), st.integers(1, 8))
def test_as_many_nuclei_as_the_h_maxima_transform_has_maxima(heights, valley):
    found = watershed_from_distance(np.ones(heights.shape), heights, valley=valley, smooth=0, min_area=1)
    sides = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])  # water passes over sides, not corners
    padded = np.pad(heights, 1, constant_values=-100)
    # 0.5 less: a valley of just `valley` separates two nuclei
    filled = reconstruction(padded - (valley - 0.5), padded, footprint=sides)
    assert found.max() == label(local_maxima(filled, connectivity=1), connectivity=1).max()


def test_ids_of_the_same_image_are_the_same_each_time():
    generator = np.random.default_rng(0)
    distance = generator.random((40, 40))
    first, second = (watershed_from_distance(np.ones((40, 40)), distance) for _ in range(2))
    assert np.array_equal(first, second)


def test_small_nuclei_are_dropped_and_ids_close_up():
    labels = discs((10, 10, 3), (30, 40, 9))
    found = watershed_from_distance(*maps(labels), min_area=40)
    assert np.array_equal(found, (labels == 2).astype(np.int32))


def test_hole_belongs_to_the_nucleus_round_it_and_the_gap_between_nuclei_to_none():
    labels = discs((20, 20, 12), (20, 50, 10))
    foreground, distance = maps(labels)
    foreground[19:22, 19:22] = 0
    found = watershed_from_distance(foreground, distance)
    assert found[20, 20] == found[20, 12] > 0
    ring = np.zeros((30, 30), np.float32)  # four nuclei round a gap
    ring[5:25, 5:25] = 1
    ring[11:19, 11:19] = 0
    quarters = np.kron([[0, 1], [2, 3]], np.ones((15, 15), int)).astype(np.int32)
    distance = maps(((quarters + 1) * ring).astype(np.int32))[1]
    found = watershed_from_distance(ring, distance, smooth=0)
    assert found.max() == 4
    assert not found[12:18, 12:18].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (16, 16)])
def test_nothing_and_everything(shape):
    assert not watershed_from_distance(np.zeros(shape), np.ones(shape)).any()
    assert (watershed_from_distance(np.ones(shape), np.ones(shape), min_area=1) == 1).all()
    assert not split_by_distance(np.zeros(shape, bool)).any()


def test_refusals():
    with pytest.raises(ValueError, match=r"foreground is \(4, 4\), distance \(4, 5\)"):
        watershed_from_distance(np.ones((4, 4)), np.ones((4, 5)))
    with pytest.raises(ValueError, match="distance is not finite"):
        watershed_from_distance(np.ones((4, 4)), np.full((4, 4), np.nan))


# -- from a mask alone --------------------------------------------------------------------------


def test_two_touching_discs_part_at_the_waist():
    labels = discs((24, 20, 11), (24, 40, 11))
    found = split_by_distance(labels > 0)
    assert found.max() == 2
    assert ((found > 0) == (labels > 0)).all()
    assert found[24, 20] == found[24, 28] != found[24, 32] == found[24, 40]


def test_peaks_nearer_than_min_distance_are_one():
    mask = discs((24, 22, 9), (24, 30, 9)) > 0
    assert split_by_distance(mask, min_distance=6, smooth=0).max() == 2
    assert split_by_distance(mask, min_distance=12, smooth=0).max() == 1
