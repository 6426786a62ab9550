"""Outlines to pixels: by hand, and against scikit-image's exact rule."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import polygon as exact_polygon

from nucbook.data.readers.polygons import fill, paint, to_nuclei
from tests.data.layouts import centres


def square(r0, c0, r1, c1):
    return [np.array(centres((r0, c0, r1, c1)), float)]


def test_an_outline_through_pixel_centres_keeps_them():
    box, mask = fill(square(2, 3, 5, 7), (10, 10))
    assert box == (2, 3, 5, 7)
    assert mask.all()


def test_a_pixel_belongs_to_an_outline_by_its_centre():
    ring = np.array([(1.6, 1.6), (1.6, 4.4), (4.4, 4.4), (4.4, 1.6)])  # over the centres of rows 2 to 4
    box, mask = fill([ring], (8, 8))
    labels = np.zeros((8, 8), bool)
    labels[box[0] : box[2], box[1] : box[3]] = mask
    assert labels.sum() == 9
    assert labels[2:5, 2:5].all()


def test_a_ring_within_a_ring_is_a_hole():
    outline = [*square(0, 0, 9, 9), np.array([(2.5, 2.5), (2.5, 5.5), (5.5, 5.5), (5.5, 2.5)])]
    _, mask = fill(outline, (9, 9))
    assert mask.sum() == 81 - 9
    assert not mask[3:6, 3:6].any()


def test_outlines_are_clipped_or_dropped_at_the_image():
    box, mask = fill(square(-4, -4, 3, 3), (6, 6))
    assert (box, mask.sum()) == ((0, 0, 3, 3), 9)
    assert fill(square(20, 20, 24, 24), (6, 6)) is None
    assert fill(square(-9, -9, -3, -3), (6, 6)) is None


def test_outlines_without_a_pixel_are_dropped():
    assert fill([np.array([(1.0, 1.0), (4.0, 4.0)])], (6, 6)) is None
    assert fill([np.zeros((0, 2))], (6, 6)) is None
    assert fill([], (6, 6)) is None
    assert fill([np.array([(1.3, 1.3), (1.3, 1.7), (1.7, 1.7)])], (6, 6)) is None


def test_the_earlier_outline_keeps_shared_pixels():
    labels = paint([square(0, 0, 4, 4), square(2, 2, 6, 6), square(1, 1, 3, 3), square(7, 7, 9, 9)], (10, 10))
    assert labels[3, 3] == 1
    assert labels[5, 5] == 2
    assert labels[8, 8] == 4
    assert 3 not in labels  # wholly covered by the first
    assert [(labels == i).sum() for i in (1, 2, 4)] == [16, 12, 4]


def test_nuclei_keep_what_they_share():
    nuclei = to_nuclei([square(0, 0, 4, 4), [np.zeros((2, 2))], square(2, 2, 6, 6)], [5, 6, 7], (10, 10))
    assert nuclei.areas.tolist() == [16, 16]
    assert nuclei.classes.tolist() == [5, 7]
    assert len(to_nuclei([], [], (4, 4))) == 0


coordinate = st.floats(-3, 23, allow_nan=False, width=32)


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8))
def test_filling_agrees_with_the_exact_rule_but_near_the_outline(vertices):
    ring = np.array(vertices, float)
    exact = np.zeros((20, 20), bool)
    exact[exact_polygon(ring[:, 0], ring[:, 1], exact.shape)] = True
    ours = paint([[ring]], exact.shape) > 0
    for row, column in np.argwhere(ours != exact):
        assert _distance_to_ring((row, column), ring) < 0.3


def _distance_to_ring(point, ring: np.ndarray) -> float:
    starts, ends = ring, np.roll(ring, -1, axis=0)
    along = ends - starts
    length = np.maximum((along**2).sum(1), 1e-12)
    share = np.clip(((point - starts) * along).sum(1) / length, 0, 1)
    return np.sqrt(((starts + share[:, None] * along - point) ** 2).sum(1)).min()
