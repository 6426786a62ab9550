"""Targets against hand-made values and one-nucleus-at-a-time references."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from nucbook import targets
from nucbook.targets import cells, distance

sides = st.integers(1, 14)
label_maps = hnp.arrays(np.int32, st.tuples(st.just(2), sides, sides), elements=st.integers(0, 3))
clicks = hnp.arrays(np.float32, st.tuples(st.integers(0, 9), st.just(2)), elements=st.integers(-8, 40))


def blobs(seed=0, size=64, count=12):
    """Overlapping discs painted over each other: touching instances, some cut by the border."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for i in range(1, count + 1):
        row, column, radius = *generator.uniform(0, size, 2), generator.uniform(4, 10)
        labels[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = 7 * i
    return labels


def distance_one_by_one(labels):
    out = np.zeros(labels.shape)
    for i in np.unique(labels[labels > 0]):
        if (labels == i).all():
            return np.full(labels.shape, np.hypot(*labels.shape))
        out += ndimage.distance_transform_edt(labels == i)
    return out


# -- distances ----------------------------------------------------------------------------------


def test_distance_of_touching_squares_by_hand():
    labels = torch.zeros(1, 5, 8, dtype=torch.int32)
    labels[0, 1:4, 1:4] = 5
    labels[0, 1:4, 4:7] = 9
    square = [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    expected = torch.zeros(5, 8)
    expected[1:4, 1:4] = expected[1:4, 4:7] = torch.tensor(square)
    assert torch.equal(targets.distance_maps(labels)[0], expected)
    assert torch.equal(targets.normalised_distance_maps(labels)[0], expected / 2)


def test_border_of_the_map_is_no_boundary():
    labels = torch.zeros(1, 3, 6, dtype=torch.int64)
    labels[0, :, :4] = 1
    assert targets.distance_maps(labels)[0].tolist() == [[4, 3, 2, 1, 0, 0]] * 3


@settings(deadline=None)
@given(label_maps)
def test_both_ways_to_a_distance_are_the_transform_of_each_nucleus(maps):
    labels = torch.from_numpy(maps)
    expected = np.stack([distance_one_by_one(m) for m in maps])
    np.testing.assert_allclose(targets.distance_maps(labels), expected, atol=1e-5)
    np.testing.assert_allclose(distance._distances_by_offsets(labels), expected, atol=1e-5)


def test_both_ways_agree_on_blobs():
    labels = torch.from_numpy(np.stack([blobs(seed) for seed in range(4)]))
    by_offsets = distance._distances_by_offsets(labels)
    torch.testing.assert_close(by_offsets, targets.distance_maps(labels))
    torch.testing.assert_close(
        distance._over_own_maximum(by_offsets, labels), targets.normalised_distance_maps(labels)
    )


def test_normalised_distance_peaks_at_one_in_every_nucleus():
    labels = blobs()
    normalised = targets.normalised_distance_maps(torch.from_numpy(labels)[None])[0].numpy()
    ids = np.unique(labels[labels > 0])
    assert ndimage.maximum(normalised, labels, ids) == pytest.approx(np.ones(len(ids)))
    assert (normalised[labels == 0] == 0).all()


def test_ids_do_not_matter():
    labels = torch.from_numpy(blobs())[None].long()
    renamed = torch.where(labels > 0, 2**31 - 1 - labels, 0)
    torch.testing.assert_close(targets.distance_maps(labels), targets.distance_maps(renamed))
    assert torch.equal(targets.boundaries(labels), targets.boundaries(renamed))


# -- boundaries ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(label_maps, st.sampled_from([1, 1.5, 2, 3]))
def test_boundary_is_where_the_distance_is_small(maps, width):
    labels = torch.from_numpy(maps)
    distance = targets.distance_maps(labels)
    one_exists = torch.tensor([len(np.unique(m)) > 1 for m in maps])[:, None, None]
    expected = (labels > 0) & (distance <= width + 1e-4) & one_exists
    assert torch.equal(targets.boundaries(labels, width), expected)


# -- HV maps ------------------------------------------------------------------------------------


def hv_one_by_one(labels):
    """(2, H, W): each nucleus' distances to its mean, in exact fractions of the longest on their side."""
    out = np.zeros((2, *labels.shape))
    for i in np.unique(labels[labels != 0]):
        rows, columns = np.nonzero(labels == i)
        for result, places in zip(out, (columns, rows)):
            offsets = [Fraction(int(p)) - Fraction(int(places.sum()), len(places)) for p in places]
            longest = {side: max((abs(o) for o in offsets if (o > 0) == side), default=0) for side in (0, 1)}
            result[rows, columns] = [float(o / (longest[o > 0] or 1)) for o in offsets]
    return out


def test_hv_maps_by_hand():
    labels = torch.zeros(1, 4, 7, dtype=torch.int32)
    labels[0, 1, 1:6] = 3  # a row of five, and one pixel off its end
    labels[0, 2, 6] = 3  # mean column 21 / 6, mean row 7 / 6
    horizontal, vertical = targets.hv_maps(labels)[0]
    expected = torch.tensor([-1, -0.6, -0.2, 0.2, 0.6])
    torch.testing.assert_close(horizontal[1, 1:6], expected)
    assert horizontal[2, 6] == 1
    torch.testing.assert_close(vertical[1, 1:6], torch.full((5,), -1.0))  # each side by its own extreme
    assert vertical[2, 6] == 1


@given(label_maps, st.sampled_from([1, 7, 10**8]))
def test_hv_maps_are_those_of_each_nucleus(maps, gap):
    found = targets.hv_maps(torch.from_numpy(maps * gap))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, np.stack([hv_one_by_one(m) for m in maps]), atol=1e-6)


def test_hv_maps_of_blobs_reach_minus_one_and_one():
    maps = np.stack([blobs(seed) for seed in range(4)])  # touching, cut by the border, ids with gaps
    maps[0, 0, 63] = 1  # one pixel
    found = targets.hv_maps(torch.from_numpy(maps)).numpy()
    np.testing.assert_allclose(found, np.stack([hv_one_by_one(m) for m in maps]), atol=1e-6)
    assert found[0, :, 0, 63].tolist() == [0, 0]
    for labels, one in zip(maps, found):
        ids = [i for i in np.unique(labels[labels > 0]) if (labels == i).sum() > 50]
        for values in one:
            assert (ndimage.minimum(values, labels, ids) == -1).all()
            assert (ndimage.maximum(values, labels, ids) == 1).all()
        assert (one[:, labels == 0] == 0).all()


def test_a_nucleus_one_pixel_wide_has_no_horizontal_distance():
    labels = torch.zeros(1, 900, 4001, dtype=torch.int64)
    labels[0, 100:807, 3999] = 2  # a mean of 3999 that floats would miss
    horizontal, vertical = targets.hv_maps(labels)[0]
    assert not horizontal.any()
    torch.testing.assert_close(vertical[100:807, 3999], torch.linspace(-1, 1, 707))


def test_a_nucleus_that_the_border_cuts_has_the_values_of_its_part_in_the_map():
    """For HV maps and distances alike; training sees to it that nothing is cut."""
    labels = torch.zeros(1, 9, 14, dtype=torch.int32)
    labels[0, 2:7, 2:12] = 1
    part = labels[..., :7]
    assert targets.hv_maps(part)[0, 0, 4, 2:].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert targets.normalised_distance_maps(part)[0, 4].tolist() == pytest.approx(
        [0, 0, 1 / 3, 2 / 3, 1, 1, 1]
    )
    assert targets.boundaries(part)[0, 4].tolist() == [False, False, True, *[False] * 4]


# -- points and boxes ---------------------------------------------------------------------------


def bent():
    """A U-shaped nucleus (id 4), 5 rows by 7 columns, at (1, 2), and a lone pixel (id 2)."""
    labels = torch.zeros(8, 12, dtype=torch.int32)
    labels[1:6, 2:9] = 4
    labels[1:4, 4:7] = 0
    labels[7, 11] = 2
    return labels


def test_boxes_by_hand():
    ids, boxes = targets.boxes(bent())
    assert ids.tolist() == [2, 4]
    assert boxes.tolist() == [[7, 11, 8, 12], [1, 2, 6, 9]]


def test_points_by_hand():
    assert targets.points(bent(), "box").tolist() == [[7, 11], [3, 5]]
    pixels = torch.nonzero(bent() == 4).double().mean(0).float()
    torch.testing.assert_close(targets.points(bent(), "centroid")[1], pixels)
    assert bent()[3, 5] == 0  # the box centre misses the bent nucleus
    row, column = targets.points(bent(), "inside")[1].long()
    assert bent()[row, column] == 4


@settings(deadline=None)
@given(label_maps)
def test_inside_points_are_inside_and_boxes_are_tight(maps):
    labels = torch.from_numpy(maps[0])
    ids, boxes = targets.boxes(labels)
    assert ids.tolist() == sorted(set(maps[0].ravel().tolist()) - {0})
    inside = targets.points(labels, "inside").long()
    assert labels[tuple(inside.T)].tolist() == ids.tolist()
    for i, box in zip(ids.tolist(), boxes.tolist()):
        where = np.nonzero(maps[0] == i)
        assert box == [*(w.min() for w in where), *(w.max() + 1 for w in where)]


# -- Voronoi ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(clicks, min_size=1, max_size=3), st.integers(1, 2))
def test_every_pixel_gets_a_nearest_point_of_ties_the_leftmost_then_the_uppermost(clicks, denominator):
    shape = (11, 17)
    regions = targets.voronoi([torch.from_numpy(p / denominator) for p in clicks], shape)
    assert regions.dtype == torch.int32
    grid = np.stack(np.mgrid[: shape[0], : shape[1]], -1)
    for p, region in zip(clicks, regions.numpy()):
        if len(p) == 0:
            assert not region.any()
            continue
        square = ((grid[:, :, None] - p.astype(float) / denominator) ** 2).sum(-1)
        order = np.lexsort((p[:, 0], p[:, 1]))  # by column, then by row, then as they come
        np.testing.assert_array_equal(region, 1 + order[square[..., order].argmin(-1)])


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(0, 10)))
def test_one_image_and_a_batch_have_the_same_voronoi_cells(pixels):
    points, shape = torch.from_numpy(pixels), (11, 14)
    alone = targets.voronoi([points], shape)
    assert cells._are_pixels(points, shape)  # by the distance transform
    assert torch.equal(alone.expand(2, -1, -1), targets.voronoi([points, points], shape))


def test_voronoi_edge_runs_midway():
    regions = targets.voronoi([torch.tensor([[2.0, 1.0], [2.0, 6.0]])], (5, 8))
    assert regions[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]
    edges = targets.voronoi_edges(regions)
    assert edges[0].tolist() == [[False] * 3 + [True] * 2 + [False] * 3] * 5


# -- bad and empty input ------------------------------------------------------------------------


def test_empty_maps():
    empty = torch.zeros(2, 6, 7, dtype=torch.int32)
    assert not targets.distance_maps(empty).any()
    assert not distance._distances_by_offsets(empty).any()
    assert not targets.normalised_distance_maps(empty).any()
    assert not targets.boundaries(empty).any()
    assert not targets.hv_maps(empty).any()
    assert targets.hv_maps(empty[:, :0]).shape == (2, 2, 0, 7)
    for at in ("box", "centroid", "inside"):
        assert targets.points(empty[0], at).shape == (0, 2)
    assert targets.boxes(empty[0])[1].shape == (0, 4)
    assert not targets.voronoi([torch.zeros(0, 2)], (6, 7)).any()


def test_refusals():
    labels = torch.zeros(2, 6, 7, dtype=torch.int32)
    with pytest.raises(TypeError, match=r"float32, expected whole numbers \(B, H, W\)"):
        targets.distance_maps(labels.float())
    for function in (targets.boundaries, targets.hv_maps):
        with pytest.raises(ValueError, match=r"\(6, 7\), expected \(B, H, W\)"):
            function(labels[0])
    with pytest.raises(ValueError, match="holds no pixel"):
        targets.boundaries(labels, 0)
    with pytest.raises(ValueError, match="'box', 'centroid', 'inside'"):
        targets.points(labels[0], "heart")
    with pytest.raises(ValueError, match="points of image 1: one is not finite"):
        targets.voronoi([torch.zeros(1, 2), torch.tensor([[0.0, torch.nan]])], (6, 7))
    with pytest.raises(ValueError, match="no images: give one tensor"):
        targets.voronoi([], (6, 7))


def test_distances_do_not_depend_on_where_the_map_lies_in_memory():
    rows, columns = np.mgrid[:60, :60]
    disc = ((rows - 30) ** 2 + (columns - 30) ** 2 < 25**2).astype(np.int32)
    expected = targets.distance_maps(torch.from_numpy(disc)[None])
    for offset in range(1, 17):
        elsewhere = np.empty(disc.size + offset, np.int32)[offset:].reshape(disc.shape)
        elsewhere[:] = disc
        assert torch.equal(targets.distance_maps(torch.from_numpy(elsewhere)[None]), expected)
    squared = expected.double() ** 2
    assert torch.allclose(squared, squared.round(), atol=1e-3)
