"""Crops on the device, and the grid that covers an image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nucbook.data.patches import PatchBank, grid, patches
from nucbook.sample import Sample


def coordinates(height, width, **more):
    """A sample whose pixels tell where they are."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows * 0], -1).astype(np.uint8)
    return Sample(image, instances=rows * width + columns, **more)


def test_image_and_maps_are_cut_at_the_same_place():
    samples = [coordinates(40, 60), coordinates(50, 30)]
    row_map = [np.mgrid[:40, :60][0], np.mgrid[:50, :30][0]]
    bank = PatchBank(samples, 16, maps={"row": row_map})
    batch = bank.draw(20, torch.Generator().manual_seed(0))
    assert batch.image.shape == (20, 3, 16, 16)
    assert batch.image.dtype == torch.uint8
    assert (batch.row == batch.image[:, 0]).all()
    for rows, columns, ids in zip(batch.image[:, 0].int(), batch.image[:, 1].int(), batch.instances):
        assert any((ids == rows * width + columns).all() for width in (60, 30))
    assert batch.valid.all()


def test_the_same_generator_draws_the_same_crops():
    bank = PatchBank([coordinates(40, 60)], 16)
    draws = [bank.draw(4, torch.Generator().manual_seed(seed)).image for seed in (3, 3, 4)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_small_images_are_padded_and_marked_invalid():
    with pytest.warns(UserWarning, match="smaller than the 16 px crop and padded"):
        bank = PatchBank([coordinates(10, 20)], 16)
    batch = bank.draw(3, torch.Generator().manual_seed(0))
    assert (batch.valid.sum((1, 2)) == 160).all()
    assert (batch.image[:, :, :3] == 255).all()
    assert (batch.instances[~batch.valid] == 0).all()


def test_a_pixel_is_as_likely_in_a_small_image_as_in_a_large_one():
    """Padding is no pixel: 8×8 and 24×16 in crops of 32 are drawn one to six."""
    with pytest.warns(UserWarning, match="2 images are smaller"):
        bank = PatchBank([coordinates(8, 8), coordinates(24, 16)], 32)
    assert (bank.weights / bank.weights[0]).tolist() == [1, 6]


def test_ids_too_large_for_the_augmentation_are_renumbered():
    instances = np.zeros((8, 8), np.int64)
    instances[2:4, 1:3], instances[2:4, 3:6] = 2**24, 2**24 + 1
    with_ids = Sample(np.full((8, 8, 3), 255, np.uint8), instances.astype(np.int32))
    (kept,) = PatchBank([with_ids], 8).layers["instances"]
    assert kept.unique().tolist() == [0, 1, 2]
    assert (kept.numpy() > 0).sum() == 10


def test_banks_refuse_what_does_not_fit():
    labelled = coordinates(20, 20)
    with pytest.raises(ValueError, match="no samples"):
        PatchBank([], 8)
    with pytest.raises(ValueError, match="two banks"):
        PatchBank([labelled, labelled.weaken("nothing")], 8)
    with pytest.raises(ValueError, match="map 'voronoi'"):
        PatchBank([labelled], 8, maps={"voronoi": [np.zeros((20, 19))]})
    batch = PatchBank([labelled], 8).draw(1, torch.Generator())
    with pytest.raises(AttributeError, match="no map 'voronoi'"):
        _ = batch.voronoi


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.data())
def test_a_grid_covers_every_pixel_and_stays_inside(height, width, size, data):
    overlap = data.draw(st.integers(0, size - 1))
    covered = np.zeros((max(height, size), max(width, size)), bool)
    for row, column in grid((height, width), size, overlap):
        assert row + size <= covered.shape[0]
        assert column + size <= covered.shape[1]
        covered[row : row + size, column : column + size] = True
    assert covered.all()


def test_a_grid_keeps_its_overlap():
    rows = sorted({row for row, _ in grid((1000, 1000), 256, 64)})
    assert max(np.diff(rows)) <= 256 - 64
    with pytest.raises(ValueError, match="must be smaller"):
        grid((10, 10), 4, 4)


def test_patches_know_their_image():
    cut = patches(coordinates(20, 30, name="a", meta={"patient": "p"}), 10)
    assert len(cut) == 6
    assert {(p.meta["image"], p.meta["patient"]) for p in cut} == {("a", "p")}


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_patches_hold_every_pixel_once_and_none_is_too_large(height, width, size):
    image = np.arange(height * width * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3)
    sample = Sample(image, np.arange(1, height * width + 1, dtype=np.int32).reshape(height, width), name="a")
    cut = patches(sample, size)
    assert max(max(patch.shape) for patch in cut) <= size
    ids = np.concatenate([patch.instances.ravel() for patch in cut])
    assert np.array_equal(np.sort(ids), np.arange(1, height * width + 1))
    assert {patch.meta["image"] for patch in cut} == {"a"}


def test_an_image_of_1000_makes_sixteen_patches():
    cut = patches(Sample(np.zeros((1000, 1000, 3), np.uint8), name="a"), 256)
    assert [patch.shape for patch in cut] == [(250, 250)] * 16
