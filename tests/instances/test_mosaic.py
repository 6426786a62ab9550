"""Windows put together: nothing lost, nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from nucbook.data.patches import grid
from nucbook.instances.mosaic import absorbed, cores, mosaic


def bar(width, *columns, height=10):
    """(height, width); nucleus k over the columns a to b − 1 of `columns[k]`."""
    labels = np.zeros((height, width), np.int32)
    for i, (a, b) in enumerate(columns, start=1):
        labels[:, a:b] = i
    return labels


def joined(left, right, min_area=0):
    """Two windows of 20 columns of a bar of 30, from column 0 and from 10; the cores meet at column 15."""
    return mosaic([bar(20, *left), bar(20, *right)], [(0, 0), (0, 10)], (10, 30), min_area)


def test_a_nucleus_over_the_line_is_one():
    assert np.array_equal(joined([(11, 20)], [(1, 10)]), bar(30, (11, 20)))
    assert np.array_equal(joined([(10, 18)], [(0, 8)]), bar(30, (10, 18)))


def test_two_that_touch_at_the_line_stay_two():
    assert np.array_equal(joined([(10, 15), (15, 20)], [(0, 5), (5, 10)]), bar(30, (10, 15), (15, 20)))


def test_what_both_windows_leave_to_the_other_is_not_lost():
    # Left: 11 to 20, its centroid right of the line. Right: 11 to 16, left of it, and 16 to 20.
    assert np.array_equal(joined([(11, 20)], [(1, 6), (6, 10)]), bar(30, (11, 16), (16, 20)))
    # One window alone has it, and its centroid lies in the core of the other.
    assert np.array_equal(joined([(14, 20)], []), bar(30, (14, 20)))
    assert np.array_equal(joined([], [(0, 4)]), bar(30, (10, 14)))


def test_where_both_windows_keep_a_nucleus_the_first_is_painted():
    # Left: 8 to 18, centroid 12.5. Right: 12 to 22, centroid 16.5. What the first leaves is 4 columns long.
    assert np.array_equal(joined([(8, 18)], [(2, 12)]), bar(30, (8, 18), (18, 22)))
    assert np.array_equal(joined([(8, 18)], [(2, 12)], min_area=41), bar(30, (8, 22)))  # an off-cut


def test_an_off_cut_joins_the_neighbour_with_the_longest_boundary():
    cut = np.zeros((10, 30), np.int32)
    cut[:, 8:15], cut[:, 15:16], cut[:8, 16:22] = 1, 2, 3
    assert np.array_equal(absorbed(cut, 20), np.where(cut == 2, 1, np.where(cut == 3, 2, cut)))


def test_off_cuts_of_off_cuts_and_hermits():
    chain = np.array([[1, 2, 3, 4, 4, 4, 0, 5]], np.int32)
    assert absorbed(chain, 3).tolist() == [[1, 1, 1, 2, 2, 2, 0, 3]]  # 3 with 2, 2 with 1; 5 has nobody
    assert absorbed(chain, 4).tolist() == [[1, 1, 1, 1, 1, 1, 0, 2]]
    assert absorbed(chain, 1) is chain
    assert not absorbed(np.zeros((3, 3), np.int32), 5).any()


def test_a_nucleus_over_the_corner_of_four_windows_is_one():
    whole = np.zeros((30, 30), np.int32)
    whole[11:19, 11:19], whole[11:19, 19:24] = 1, 2
    windows = list(grid(whole.shape, 20, 10))
    assert len(windows) == 4
    maps = [whole[row : row + 20, column : column + 20] for row, column in windows]
    assert np.array_equal(mosaic(maps, windows, whole.shape), whole)


@pytest.mark.parametrize("size", [(96, 96), (300, 211), (40, 96), (145, 97)])
def test_cores_tile_the_image(size):
    windows = list(grid(size, 96, 48))
    painted = np.zeros(size, int)
    for (row, column), (rows, columns) in zip(windows, cores(windows, (96, 96), size)):
        painted[rows, columns] += 1
        assert row <= rows.start <= rows.stop <= row + 96
        assert column <= columns.start <= columns.stop <= column + 96
    assert (painted == 1).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 12), st.integers(0, 999))
def test_nothing_is_lost_and_instances_are_whole(height, width, min_area, seed):
    """Windows that agree about nothing."""
    generator = np.random.default_rng(seed)
    windows = list(grid((height, width), 16, 6))
    maps = []
    for row, column in windows:
        shape = min(16, height - row), min(16, width - column)
        coarse = generator.integers(0, 3, (6, 6)).repeat(3, 0).repeat(3, 1)[: shape[0], : shape[1]]
        own = label(coarse, connectivity=1)
        large = np.bincount(own.ravel()) >= min_area
        large[0] = False
        maps.append(np.where(large, np.cumsum(large), 0)[own].astype(np.int32))
    kept = np.zeros((height, width), bool)
    for (row, column), own in zip(windows, maps):
        kept[row : row + 16, column : column + 16] |= own > 0
    found = mosaic(maps, windows, (height, width), min_area)
    assert np.array_equal(found > 0, kept)
    assert np.unique(found[found > 0]).tolist() == list(range(1, found.max() + 1))
    assert label(found, connectivity=1).max() == found.max()
    assert (np.bincount(found.ravel())[1:] >= min_area).all()
    assert np.array_equal(found, mosaic(maps, windows, (height, width), min_area))
