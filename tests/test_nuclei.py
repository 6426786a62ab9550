"""Instances as columns: label map, polygons and back."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucbook.data.readers.polygons import paint
from nucbook.nuclei import InvalidNuclei, Nuclei

maps = arrays(
    np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 0, 1, 5, 900])
)


@given(maps)
def test_a_label_map_survives_the_way_there_and_back(labels):
    nuclei = Nuclei.from_labels(labels)
    ids = np.unique(labels[labels > 0])
    assert len(nuclei) == len(ids)
    again = nuclei.to_labels()
    assert (again == np.searchsorted(ids, labels, side="right") * (labels > 0)).all()
    assert nuclei.areas.tolist() == [(labels == i).sum() for i in ids]
    for centre, i in zip(nuclei.centroids, ids):
        assert np.allclose(centre, np.argwhere(labels == i).mean(0))


def two_overlapping(scores):
    return Nuclei((4, 6), [(0, 0, 4, 4), (0, 2, 4, 6)], [np.ones((4, 4)), np.ones((4, 4))], scores, [1, 2])


def test_contested_pixels_go_to_the_higher_score_then_to_the_earlier():
    assert (two_overlapping([0.2, 0.9]).to_labels()[:, 2:4] == 2).all()
    assert (two_overlapping([0.9, 0.2]).to_labels()[:, 2:4] == 1).all()
    assert (two_overlapping(None).to_labels()[:, 2:4] == 1).all()


def test_rows_are_selected_with_all_their_columns():
    nuclei = two_overlapping([0.2, 0.9])
    assert nuclei[[1]].classes.tolist() == [2]
    assert nuclei[nuclei.scores < 0.5].classes.tolist() == [1]
    assert len(nuclei[:0]) == 0


def test_outlines_give_the_mask_back():
    rows, columns = np.mgrid[:40, :40]
    labels = (((rows - 15) / 10) ** 2 + ((columns - 20) / 15) ** 2 < 1).astype(np.int32)
    polygon = Nuclei.from_labels(labels).to_polygons()[0]
    assert (paint([[polygon]], labels.shape) == labels).all()
    assert cv2.contourArea(polygon.astype(np.float32)) == (labels > 0).sum() - 0.5


def test_the_outline_of_a_bar_has_no_vertex_on_its_sides_and_none_is_left_of_nothing():
    masks = [np.ones((1, 5), bool), np.zeros((2, 2), bool)]
    bar, nothing = Nuclei((9, 9), [(2, 3, 3, 8), (0, 0, 2, 2)], masks).to_polygons()
    assert sorted(map(tuple, bar)) == [(1.5, 3), (1.5, 7), (2, 2.5), (2, 7.5), (2.5, 3), (2.5, 7)]
    assert nothing.shape == (0, 2)


def test_rotated_box_of_an_empty_mask_is_its_centre():
    empty = Nuclei((9, 9), boxes=[(2, 3, 5, 8)], masks=[np.zeros((3, 5), bool)])
    assert empty.rotated_boxes().tolist() == [[3, 5, 0, 0, 0]]


def test_rotated_box_of_a_bar():
    bar = np.zeros((20, 20), np.int32)
    bar[4, 3:12] = 1
    row, column, long, short, angle = Nuclei.from_labels(bar).rotated_boxes()[0]
    assert (row, column, long, short) == pytest.approx((4, 7, 9, 1))
    assert min(angle, np.pi - angle) == pytest.approx(0, abs=1e-3)
    angle = Nuclei.from_labels(np.eye(9, dtype=np.int32)).rotated_boxes()[0, 4]
    assert angle == pytest.approx(np.pi / 4, abs=1e-3)  # down and to the right


def test_blocks_join_into_a_slide():
    block = two_overlapping(None)
    slide = Nuclei.concatenate([block.shifted(0, 0, (8, 6)), block.shifted(4, 0, (8, 6))])
    assert slide.boxes[:, 0].tolist() == [0, 0, 4, 4]
    assert len(Nuclei.concatenate([], (3, 3))) == 0
    with pytest.raises(InvalidNuclei, match="no shape"):
        Nuclei.concatenate([])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"boxes": [(0, 0, 2, 2)]}, "0 masks for 1 boxes"),
        ({"boxes": [(0, 0, 2, 9)], "masks": [np.ones((2, 9))]}, "leaves the 4×4 image"),
        ({"boxes": [(0, 0, 0, 2)], "masks": [np.ones((0, 2))]}, "empty"),
        ({"boxes": [(0, 0, 2, 2)], "masks": [np.ones((3, 2))]}, "crop the mask"),
        ({"boxes": [(0, 0, 2, 2)], "masks": [np.ones((2, 2))], "scores": [1, 2]}, "scores: 2 values"),
        (
            {"boxes": [(0, 0, 2, 2)], "masks": [np.ones((2, 2))], "rotated": np.ones((2, 5))},
            "rotated: 2 rows",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused(columns, message):
    with pytest.raises(InvalidNuclei, match=message):
        Nuclei((4, 4), **columns)
