"""PanNuke's arrays: ids per class channel, read patch by patch."""

from __future__ import annotations

import numpy as np
import pytest

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.pannuke import read_fold, read_patch
from tests.data.layouts import tile, write

LABELS = tile()[1]


@pytest.fixture
def fold(tmp_path):
    home = write("pannuke", tmp_path) / "PanNuke" / "Fold 1"
    return home / "images/fold1/images.npy", home / "masks/fold1/masks.npy", home / "images/fold1/types.npy"


def test_a_fold_lists_its_tissues(fold):
    assert read_fold(*fold) == ["Breast", "Colon"]


def test_the_same_id_in_two_channels_names_two_nuclei(fold):
    sample = read_patch(*fold[:2], 0, "a", 0.25, {})
    assert sorted(np.unique(sample.instances)) == [0, 1, 2, 3]
    class_at = {int(LABELS[sample.instances == i][0]): kind for i, kind in sample.class_of.items()}
    assert class_at == {1: 1, 2: 3, 3: 5}


def test_a_pixel_of_two_channels_goes_to_the_later(fold):
    masks = np.load(fold[1])
    masks[0, 0, 0, [0, 3]] = 5
    np.save(fold[1], masks)
    sample = read_patch(*fold[:2], 0, "a", 0.25, {})
    assert sample.class_of[sample.instances[0, 0]] == 4
    assert len(sample.class_of) == len(np.unique(sample.instances)) - 1


def test_a_patch_without_nuclei(fold):
    masks = np.load(fold[1])
    masks[1, ..., :5] = 0
    np.save(fold[1], masks)
    sample = read_patch(*fold[:2], 1, "a", 0.25, {})
    assert not sample.instances.any()
    assert sample.class_of == {}


def test_shapes_that_do_not_fit_are_named(fold):
    np.save(fold[2], np.array(["Breast"]))
    with pytest.raises(UnreadableFile, match=r"types\.npy: 1 tissues for 2 pictures; unpack the fold"):
        read_fold(*fold)
    np.save(fold[1], np.zeros((2, 8, 8, 6)))
    with pytest.raises(UnreadableFile, match=r"masks\.npy: shape \(2, 8, 8, 6\) for pictures \(2, 24"):
        read_fold(*fold)
    np.save(fold[0], np.zeros((2, 8, 8)))
    with pytest.raises(UnreadableFile, match=r"images\.npy: shape \(2, 8, 8\), expected \(N, H, W, 3\)"):
        read_fold(*fold)


def test_values_that_are_no_picture_or_no_ids(fold):
    np.save(fold[0], np.load(fold[0]) + 0.5)
    with pytest.raises(UnreadableFile, match=r"images\.npy: patch 0 does not hold 0\.\.255 whole numbers"):
        read_patch(*fold[:2], 0, "a", 0.25, {})
    np.save(fold[0], np.zeros((2, 24, 24, 3)))
    np.save(fold[1], np.load(fold[1]) - 1)
    with pytest.raises(UnreadableFile, match=r"masks\.npy: patch 0 does not hold ids"):
        read_patch(*fold[:2], 0, "a", 0.25, {})


def test_a_truncated_fold_is_named(fold):
    whole = fold[1].read_bytes()
    fold[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match=r"masks\.npy: no intact \.npy array"):
        read_fold(*fold)
