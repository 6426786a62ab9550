"""Crops over the whole image, and the grid that covers an image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nucbook.data.augment import Geometry
from nucbook.data.patches import PatchBank, Places, covered, grid, overlapping, patches
from nucbook.data.tissue import simulate
from nucbook.nuclei import Nuclei
from nucbook.sample import Sample


def coordinates(height, width, **more):
    """A sample whose pixels tell where they are."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rows * 0], -1).astype(np.uint8)
    return Sample(image, instances=rows * width + columns, **more)


def upright(bank, centre, side, size=None, sample=0):
    """What a bank holds round a centre (row, column), without any augmentation."""
    axis = torch.arange(side) - (side - 1) / 2
    offsets = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]
    return Places(bank, torch.tensor([sample]), torch.tensor([centre])).read(offsets, size or side)


def with_labels(labels, **more):
    return Sample(np.zeros((*labels.shape, 3), np.uint8), labels, **more)


# -- where crops lie ------------------------------------------------------------------------------


def test_image_and_maps_are_read_at_the_same_place():
    samples = [coordinates(40, 60), coordinates(50, 30)]
    row_map = [np.mgrid[:40, :60][0], np.mgrid[:50, :30][0]]
    bank = PatchBank(samples, maps={"row": row_map})
    for sample, width in enumerate([60, 30]):
        batch = upright(bank, (20.5, 15.5), 16, sample=sample)
        rows, columns = torch.meshgrid(torch.arange(13, 29), torch.arange(8, 24), indexing="ij")
        assert batch.image.shape == (1, 3, 16, 16)
        torch.testing.assert_close(batch.image[0, 0] * 255, rows.float(), atol=1e-3, rtol=0)
        torch.testing.assert_close(batch.image[0, 1] * 255, columns.float(), atol=1e-3, rtol=0)
        assert (batch.row[0] == rows).all()
        assert (batch.instances[0] == rows * width + columns).all()
        assert batch.valid.all()


def test_between_pixels_an_image_is_linear():
    batch = upright(PatchBank([coordinates(40, 60)]), (20.25, 30.75), 5)
    torch.testing.assert_close(batch.image[0, 0, :, 0] * 255, torch.arange(18, 23) + 0.25, atol=1e-3, rtol=0)
    torch.testing.assert_close(batch.image[0, 1, 0] * 255, torch.arange(28, 33) + 0.75, atol=1e-3, rtol=0)


def test_the_same_generator_draws_the_same_places():
    bank = PatchBank([coordinates(40, 60)])
    draws = [bank.draw(4, torch.Generator().manual_seed(seed)).centres for seed in (3, 3, 4)]
    assert (draws[0] == draws[1]).all()
    assert (draws[0] != draws[2]).any()


def test_a_pixel_is_as_likely_in_a_small_image_as_in_a_large_one():
    bank = PatchBank([coordinates(8, 8), coordinates(24, 16)])
    assert (bank.weights / bank.weights[0]).tolist() == [1, 6]
    drawn = bank.draw(7000, torch.Generator().manual_seed(0)).which
    assert (drawn == 0).sum().item() == pytest.approx(1000, abs=120)


@pytest.mark.parametrize(
    ("crop", "side", "draws"), [(160, 250, 160), (96, 256, 400), (160, 1000, 800), (256, 250, 80)]
)
def test_every_pixel_of_an_image_is_drawn_about_equally_often(crop, side, draws):
    """Counted in cells of 25 px: chance weighs less there. (Σp)² / (N Σp²) is 1 where all are alike."""
    places = np.arange(side * side).reshape(side, side)
    bank = PatchBank([Sample(np.zeros((side, side, 3), np.uint8))], maps={"place": [places]})
    generator, counts, valid = torch.Generator().manual_seed(0), np.zeros(side * side), []
    for _ in range(draws // 8):
        batch = Geometry(crop)(bank.draw(8, generator), generator)
        counts += np.bincount(batch.place.flatten(), minlength=side * side)
        valid.append(batch.valid.float().mean().item())
    cells = side // 25
    counts = counts.reshape(side, side)[: 25 * cells, : 25 * cells].reshape(cells, 25, cells, 25).sum((1, 3))
    assert counts.sum() ** 2 / (counts.size * (counts**2).sum()) > 0.9
    assert counts.min() > counts.mean() / 10
    assert np.mean(valid) == 1


# -- beyond the border ----------------------------------------------------------------------------


def test_an_image_goes_on_as_its_mirror_image():
    """Two borders away as well: 3×4 pixels in a crop of 13."""
    bank = PatchBank([coordinates(3, 4)])
    batch = upright(bank, (1, 1), 13)
    rows, columns = np.mgrid[:3, :4]
    mirrored = lambda values: np.pad(values, ((5, 5), (5, 4)), mode="symmetric")
    torch.testing.assert_close(
        batch.image[0, 0] * 255, torch.from_numpy(mirrored(rows)).float(), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        batch.image[0, 1] * 255, torch.from_numpy(mirrored(columns)).float(), atol=1e-3, rtol=0
    )
    assert batch.valid.all()


def test_mirrored_nuclei_have_ids_of_their_own():
    """A nucleus that the border cuts and its mirror image are two, and so are all further copies."""
    labels = np.zeros((6, 8), np.int32)
    labels[2:4, :3], labels[2:4, 5:7] = 2**31 - 1, 7
    batch = upright(PatchBank([with_labels(labels)]), (2.5, 3.5), 24)
    found = batch.instances[0].numpy()
    middle = found[9:15, 8:16]
    assert np.array_equal(np.unique(middle), [0, 1, 2])  # renumbered, in the order of the ids
    assert (middle[labels == 7] == 1).all()
    assert (middle[labels == 2**31 - 1] == 2).all()
    seen = set(middle[middle > 0].tolist())
    for top in (3, 15):  # the tiles above and below
        tile = found[top : top + 6, 8:16]
        here = set(tile[tile > 0].tolist())
        assert len(here) == 2
        assert not here & seen
        seen |= here
    assert found[11, 7] != found[11, 8]  # across the border
    assert found[11, 7] == found[11, 5] > 0


def test_ids_of_other_maps_are_those_from_the_first_on():
    pseudo = np.ones((4, 4), np.int32)
    pseudo[1:3, 1:3] = 2
    sample = Sample(np.zeros((4, 4, 3), np.uint8))
    bank = PatchBank([sample], maps={"pseudo": [pseudo], "plain": [pseudo]}, ids={"pseudo": 2})
    batch = upright(bank, (1.5, 3.5), 8)
    assert batch.plain.unique().tolist() == [1, 2]
    assert (batch.pseudo[batch.plain == 1] == 1).all()
    assert len(batch.pseudo.unique()) == 1 + 6  # 3 × 2 copies


def test_a_mirrored_pixel_is_as_valid_and_annotated_as_its_source():
    valid = np.ones((4, 6), bool)
    valid[0, 1] = False
    bank = PatchBank([coordinates(4, 6, valid=valid)])
    batch = upright(bank, (-0.5, 2.5), 6)
    assert np.argwhere(~batch.valid[0].numpy()).tolist() == [[2, 1], [3, 1]]
    assert batch.annotated.all()


def test_centres_of_crops_lie_where_samples_are_annotated():
    corner, strip = np.zeros((20, 30), bool), np.zeros((12, 9), bool)
    corner[15:, 26:], strip[3, :] = True, True
    labels = [np.zeros(mask.shape, np.int32) for mask in (corner, strip)]
    bank = PatchBank([replace(with_labels(own), annotated=m) for own, m in zip(labels, (corner, strip))])
    places = bank.draw(2000, torch.Generator().manual_seed(0))
    seen = [np.zeros(mask.shape, int) for mask in (corner, strip)]
    for which, (row, column) in zip(places.which, places.centres.round().int()):
        seen[which][row, column] += 1
    assert np.array_equal(seen[0] > 0, corner)
    assert np.array_equal(seen[1] > 0, strip)
    counts = np.concatenate([seen[0][corner], seen[1][strip]])
    assert counts.min() > counts.mean() / 2
    assert (places.centres - places.centres.round()).std() > 0.2  # anywhere in a pixel


def test_samples_that_are_annotated_nowhere_are_refused():
    labels = np.zeros((8, 8), np.int32)
    with pytest.raises(ValueError, match="no pixel of the samples is annotated; annotate a region of one"):
        PatchBank([replace(with_labels(labels), annotated=labels > 0)])


# -- what a batch knows of nuclei -----------------------------------------------------------------


def test_nuclei_that_the_border_of_an_annotated_region_cuts_are_not_whole():
    """1 ends there, 2 lies within, 3 was outlined beyond it, 4 touches its corner."""
    labels = np.zeros((20, 20), np.int32)
    labels[4:8, 8:12], labels[12:15, 6:9], labels[10:13, 10:15], labels[16:18, 2:4] = 1, 2, 3, 4
    annotated = np.zeros((20, 20), bool)
    annotated[2:18, 4:12] = True
    annotated[18:, :] = annotated[:, :2] = annotated[16:18, 2:4] = True
    batch = upright(PatchBank([replace(with_labels(labels), annotated=annotated)]), (9.5, 9.5), 20)
    cut = torch.from_numpy(np.isin(labels, (1, 4)))
    assert torch.equal(batch.whole[0], ~cut)


def test_nuclei_that_touch_the_border_of_their_image_are_not_whole():
    labels = np.zeros((20, 20), np.int32)
    labels[0:3, 5:8], labels[10:13, 5:8], labels[10:13, 17:20] = 1, 2, 3
    batch = upright(PatchBank([with_labels(labels)]), (9.5, 9.5), 20)
    cut = (batch.instances == 1) | (batch.instances == 3)
    # The context ends with the crop, so all that touch its border leave it: the same two.
    assert torch.equal(batch.whole, ~cut)
    wide = upright(PatchBank([with_labels(labels)]), (9.5, 9.5), 60, 20)
    assert torch.equal(wide.whole, ~cut)
    assert wide.context.shape == (1, 60, 60)
    assert torch.equal(wide.centre(wide.context), wide.instances)


def test_a_nucleus_that_leaves_the_context_is_not_whole():
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 10:30] = 1
    bank = PatchBank([with_labels(labels)])
    for margin, whole in ((4, False), (5, False), (6, True)):  # a crop of 10 px and so much on each side
        batch = upright(bank, (19.5, 19.5), 10 + 2 * margin, 10)
        assert batch.whole.all() == whole


def test_classes_follow_their_nuclei():
    labels = np.zeros((8, 8), np.int32)
    labels[1:3, 1:3], labels[5:7, 5:7], labels[1:3, 5:7] = 40, 7, 9
    plain = upright(PatchBank([with_labels(labels)]), (3.5, 3.5), 8)
    assert not plain.classes.any()
    known = upright(PatchBank([with_labels(labels, class_of={40: 3, 7: 1})]), (3.5, 3.5), 8)
    assert (known.classes[0].numpy() == (labels == 40) * 3 + (labels == 7)).all()


def crossing():
    """Two bars that cross, of classes 2 and 1, and a square apart."""
    boxes = [[1, 1, 3, 9], [0, 4, 8, 6], [5, 0, 7, 2]]
    masks = [np.ones((b - t, r - l), bool) for t, l, b, r in boxes]
    nuclei = Nuclei((10, 10), np.array(boxes), masks, classes=[2, 1, 1])
    return Sample(np.zeros((10, 10, 3), np.uint8), nuclei=nuclei)


def test_overlapping_nuclei_lie_on_layers():
    sample = crossing()
    plain = np.zeros((10, 10), np.int32)
    plain[5:7, 5:7] = 4
    bank = PatchBank([sample, with_labels(plain)])
    batch = upright(bank, (4.5, 4.5), 10)
    assert batch.layers.shape == (1, 2, 10, 10)
    masks = [batch.layers[0, layer].numpy() == i for layer, i in ((0, 1), (1, 2), (0, 3))]
    for mask, box, own in zip(masks, sample.nuclei.boxes, sample.nuclei.masks):
        expected = np.zeros((10, 10), bool)
        expected[box[0] : box[2], box[1] : box[3]] = own
        assert np.array_equal(mask, expected)
    assert set(batch.layers.unique().tolist()) == {0, 1, 2, 3}
    assert batch.classes[0, 7, 4] == 1
    assert batch.classes[0, 1, 1] == 2
    other = upright(bank, (4.5, 4.5), 10, sample=1)
    assert torch.equal(other.layers[:, 0], other.instances)
    assert not other.layers[:, 1].any()


def test_banks_refuse_what_does_not_fit():
    labelled = coordinates(20, 20)
    with pytest.raises(ValueError, match="no samples"):
        PatchBank([])
    with pytest.raises(ValueError, match="two banks"):
        PatchBank([labelled, labelled.weaken("nothing")])
    with pytest.raises(ValueError, match="map 'voronoi'"):
        PatchBank([labelled], maps={"voronoi": [np.zeros((20, 19))]})
    with pytest.raises(ValueError, match="ids are given for 'pseudo'"):
        PatchBank([labelled], ids={"pseudo": 2})


# -- grids ------------------------------------------------------------------------------------


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


def test_patches_that_overlap_put_a_label_on_more_pixels_than_their_share():
    """Of 49 patches of 256² in a 1000² image; and what is smaller than a patch is one."""
    corners = list(grid((1000, 1000), 256, 128))
    assert len(corners) == 49
    assert covered((1000, 1000), corners, 256) == 1
    assert covered((1000, 1000), corners[:1], 256) == pytest.approx(0.0655, abs=1e-4)
    assert covered((1000, 1000), corners[::8], 256) > 7 / 49
    small = overlapping(simulate("breast", (40, 100), seed=1), 64, 32)
    assert [sample.shape for sample in small] == [(40, 64)] * 3
    assert [sample.meta["box"][:2] for sample in small] == [(0, 0), (0, 18), (0, 36)]
