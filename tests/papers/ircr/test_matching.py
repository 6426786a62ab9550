"""Matching beside brute force; masks of pairs by hand; images in which little or nothing matches."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nucbook.papers.ircr.matching import assign, boundary, centroids, match, match_batch, renumbered


def squares(*corners, side=4, shape=(24, 40)):
    """Label map of squares by their first (row, column), ids 1 to N."""
    labels = np.zeros(shape, np.int32)
    for i, (row, column) in enumerate(corners, start=1):
        labels[row : row + side, column : column + side] = i
    return labels


UNIT = 4 / np.sqrt(np.pi)  # px, radius of a disc as large as such a square


# -- who belongs to whom ------------------------------------------------------------------------


def most_gained(teacher, student, reach):
    """The largest sum of reach − distance over all one-to-one matchings, each tried."""
    if len(teacher) > len(student):
        teacher, student = student, teacher
    gain = lambda places: sum(max(reach - np.hypot(*(t - student[j])), 0) for t, j in zip(teacher, places))
    return max(map(gain, permutations(range(len(student)), len(teacher))))


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5).map(
    lambda rows: np.array(rows, float).reshape(-1, 2)
)


@settings(deadline=None, max_examples=150)
@given(points, points, st.floats(0.5, 15))
def test_no_matching_gains_more(teacher, student, reach):
    pairs = assign(teacher, student, reach)
    distance = np.hypot(*(teacher[pairs[:, 0]] - student[pairs[:, 1]]).T)
    assert (distance < reach).all()
    assert all(len(set(side)) == len(side) for side in pairs.T.tolist())
    assert (reach - distance).sum() == pytest.approx(most_gained(teacher, student, reach))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(0, 6), st.floats(0.1, 2))
def test_matching_is_symmetric(seed, n, m, reach):
    rng = np.random.default_rng(seed)
    teacher, student = rng.random((n, 2)), rng.random((m, 2))
    there, back = assign(teacher, student, reach), assign(student, teacher, reach)
    assert sorted(map(tuple, there)) == sorted((t, s) for s, t in back)


def test_far_points_do_not_part_close_ones():
    """On all distances Munkres pairs 0 with 10 and 10 with 20, and a cut at 9 leaves nothing."""
    teacher, student = np.array([[0.0, 0], [0, 10]]), np.array([[1.0, 10], [0, 20]])
    assert assign(teacher, student, 9).tolist() == [[1, 0]]


def test_centroids_and_areas_of_ids_with_gaps():
    labels = np.zeros((5, 6), np.int32)
    labels[1:3, 1:5], labels[4, 5] = 900_000_000, 7
    ids, places, areas = centroids(labels)
    assert ids.tolist() == [7, 900_000_000]
    assert places.tolist() == [[4, 5], [1.5, 2.5]]
    assert areas.tolist() == [1, 8]


def test_the_radius_counts_mean_radii():
    teacher, student = squares((4, 4)), squares((4, 7))  # 3 px apart
    assert match(teacher, student, radius=3 / UNIT + 0.01).tolist() == [[1, 1]]
    assert not len(match(teacher, student, radius=3 / UNIT - 0.01))
    assert not len(match(teacher, student, radius=3, unit=1))  # as far as, not less
    assert len(match(teacher, student, radius=3.01, unit=1)) == 1
    larger = squares((4, 4), side=8), squares((4, 10), side=8)  # the same picture, doubled
    assert len(match(*larger, radius=3 / UNIT + 0.01)) == 1
    assert not len(match(*larger, radius=3 / UNIT - 0.01))


def test_partners_by_id_whatever_the_ids():
    teacher, student = squares((2, 2), (2, 20), (15, 4)), squares((15, 5), (3, 2), (15, 30))
    assert match(teacher, student).tolist() == [[1, 2], [3, 1]]
    ids = np.array([0, 80, 5, 70])
    assert match(ids[teacher], student).tolist() == [[70, 1], [80, 2]]
    assert match(teacher.astype(np.uint8), student.astype(np.int64)).tolist() == [[1, 2], [3, 1]]


def test_renumbered_keeps_the_named_and_their_order():
    labels = np.array([[0, 3, 3], [9, 0, 4]])
    assert renumbered(labels, np.array([9, 3])).tolist() == [[0, 2, 2], [1, 0, 0]]
    assert not renumbered(labels, np.array([], int)).any()


# -- where they lie -----------------------------------------------------------------------------


def test_a_boundary_is_two_pixels_within_and_two_without():
    mask = squares((6, 6), side=8, shape=(20, 20)).astype(np.uint8)
    found = np.zeros((20, 20), np.uint8)
    found[4:16, 4:16], found[8:12, 8:12] = 1, 0
    assert np.array_equal(boundary(mask), found)
    assert boundary(squares((4, 4), side=1, shape=(9, 9)).astype(np.uint8)).sum() == 25


def test_a_nucleus_does_not_end_where_the_image_does():
    cut = np.zeros((12, 12), np.uint8)
    cut[:, :6] = 1
    assert np.flatnonzero(boundary(cut).all(0)).tolist() == [4, 5, 6, 7]
    assert boundary(cut).sum() == 4 * 12
    assert not boundary(np.ones((9, 9), np.uint8)).any()


def pair_by_pair(teacher, student, pairs):
    """Both kinds of masks, each pair in whole images: two uint8 (3, H, W)."""
    made = np.zeros((2, 3, *teacher.shape), np.uint8)
    for t, s in pairs:
        masks = (teacher == t).astype(np.uint8), (student == s).astype(np.uint8)
        for cover, (one, other) in zip(made, (masks, tuple(map(boundary, masks)))):
            cover += np.stack([one & other, one & ~other & 1, other & ~one & 1])
    return made


def stacked(cover):
    return torch.stack([cover.both, cover.teacher, cover.student]).numpy()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 9), st.integers(1, 7))
def test_the_masks_equal_those_made_pair_by_pair(seed, count, side):
    """Squares that overlap, are cut by the border, lie anywhere."""
    rng = np.random.default_rng(seed)
    teacher, student = (squares(*rng.integers(0, (22, 38), (count, 2)), side=side) for _ in range(2))
    made = match_batch(teacher[None], student[None], radius=3.0)
    pairs = match(teacher, student, radius=3.0)
    assert made.count.tolist() == [len(pairs)]
    nuclei, boundaries = pair_by_pair(teacher, student, pairs)
    assert np.array_equal(stacked(made.nuclei)[:, 0], nuclei)
    assert np.array_equal(stacked(made.boundaries)[:, 0], boundaries)
    lonely = ~np.isin(teacher, [0, *pairs[:, 0]]), ~np.isin(student, [0, *pairs[:, 1]])
    assert np.array_equal(made.unmatched[0].numpy(), np.stack(lonely))


def test_boundaries_of_touching_nuclei_are_counted_twice():
    touching = squares((4, 4), (4, 8))[None]
    made = match_batch(touching, touching)
    assert made.boundaries.both.max() == 2
    assert made.boundaries.both[0, 5, 6:10].tolist() == [2, 2, 2, 2]
    assert not made.boundaries.teacher.any()
    assert not made.boundaries.student.any()


def test_unmatched_nuclei_are_in_no_mask():
    teacher, student = squares((2, 2), (15, 30)), squares((2, 3), (15, 4))
    made = match_batch(teacher[None], student[None])
    assert made.count.tolist() == [1]
    assert np.array_equal(made.unmatched[0, 0].numpy(), teacher == 2)
    assert np.array_equal(made.unmatched[0, 1].numpy(), student == 2)
    for cover in (made.nuclei, made.boundaries):
        assert not stacked(cover)[:, 0, 10:].any()


def test_a_batch_is_its_images_one_by_one_and_has_no_gradient():
    nothing, everything = np.zeros((24, 40), np.int32), np.ones((24, 40), np.int32)
    some, moved, far = squares((2, 2), (2, 20)), squares((3, 2), (2, 21)), squares((18, 35))
    teacher = np.stack([nothing, some, nothing, some, squares((2, 2)), everything])
    student = np.stack([nothing, nothing, some, moved, far, everything])
    made = match_batch(teacher, student)
    assert made.count.tolist() == [0, 0, 0, 2, 0, 1]
    for i in range(len(teacher)):
        alone = match_batch(teacher[i : i + 1], student[i : i + 1])
        assert np.array_equal(stacked(made.nuclei)[:, i], stacked(alone.nuclei)[:, 0])
        assert np.array_equal(stacked(made.boundaries)[:, i], stacked(alone.boundaries)[:, 0])
    assert made.nuclei.both[5].all()  # one giant instance
    assert not made.boundaries.both[5].any()
    tensors = [*vars(made.nuclei).values(), *vars(made.boundaries).values(), made.count, made.unmatched]
    assert not any(t.requires_grad or t.is_floating_point() for t in tensors)
    assert match_batch(teacher[:0], student[:0]).nuclei.both.shape == (0, 24, 40)


def test_pairs_move_whole_to_another_device():
    moved = match_batch(squares((2, 2))[None], squares((2, 3))[None]).to("meta")
    tensors = [*vars(moved.nuclei).values(), *vars(moved.boundaries).values(), moved.count, moved.unmatched]
    assert len(tensors) == 8
    assert all(t.device.type == "meta" for t in tensors)


def test_refusals():
    labels = squares((2, 2))
    with pytest.raises(ValueError, match=r"teacher is \(24, 40\), student \(40, 24\); give both maps"):
        match(labels, labels.T)
    with pytest.raises(ValueError, match=r"student is \(1, 24, 40\), expected \(H, W\); give its label map"):
        match(labels, labels[None])
    with pytest.raises(ValueError, match=r"teacher is \(24, 40\), expected \(B, H, W\)"):
        match_batch(labels, labels)
    with pytest.raises(TypeError, match="teacher is float64, not whole numbers; decode it"):
        match(labels / 2, labels)
    with pytest.raises(ValueError, match="student holds negative ids; use 0 for background"):
        match(labels, -labels)
    for radius in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"radius is {radius}, which cuts nothing off or all; give"):
            match(labels, labels, radius)
    with pytest.raises(ValueError, match="unit is 0"):
        match_batch(labels[None], labels[None], unit=0)
