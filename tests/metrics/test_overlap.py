"""The table of intersections and areas, against pixel sets, and what is refused at its door."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from skimage.measure import label

from nucbook.metrics import InvalidPair, Overlap
from nucbook.nuclei import Nuclei

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)


@st.composite
def two_maps(draw, ids=(0, 1, 2, 3, 4)):
    maps = arrays(np.int32, draw(SHAPES), elements=st.sampled_from(ids))
    return draw(maps), draw(maps)


def as_dict(overlap: Overlap) -> dict[tuple[int, int], int]:
    return {
        (int(overlap.truth_ids[g]), int(overlap.prediction_ids[p])): int(shared)
        for g, p, shared in zip(overlap.truth_of, overlap.prediction_of, overlap.intersection)
    }


def test_ids_areas_and_intersections_of_a_map_read_by_eye():
    truth = np.array([[7, 7, 0, 2], [7, 0, 2, 2]])
    prediction = np.array([[0, 9, 9, 0], [5, 5, 9, 9]])
    overlap = Overlap.between(truth, prediction)
    assert overlap.truth_ids.tolist() == [2, 7]
    assert overlap.truth_areas.tolist() == [3, 3]
    assert overlap.prediction_ids.tolist() == [5, 9]
    assert overlap.prediction_areas.tolist() == [2, 4]
    assert as_dict(overlap) == {(2, 9): 2, (7, 5): 1, (7, 9): 1}
    assert overlap.iou.tolist() == [2 / 5, 1 / 4, 1 / 6]
    assert overlap.foreground == (6, 6, 4)


@given(two_maps())
def test_counts_what_a_loop_over_pairs_counts(maps):
    truth, prediction = maps
    expected = {}
    for g in set(truth.ravel().tolist()) - {0}:
        for p in set(prediction.ravel().tolist()) - {0}:
            shared = int(((truth == g) & (prediction == p)).sum())
            if shared:
                expected[g, p] = shared
    overlap = Overlap.between(truth, prediction)
    assert as_dict(overlap) == expected
    assert list(as_dict(overlap)) == sorted(expected)
    assert overlap.truth_areas.tolist() == [(truth == g).sum() for g in overlap.truth_ids]
    assert overlap.prediction_areas.tolist() == [(prediction == p).sum() for p in overlap.prediction_ids]


@given(two_maps(ids=(0, 0, 3, 10**6, 2**31 - 1)))
def test_ids_may_be_any_integers(maps):
    known = np.array([0, 3, 10**6, 2**31 - 1])
    small = Overlap.between(*(np.searchsorted(known, side) for side in maps))
    overlap = Overlap.between(*maps)
    assert overlap.truth_ids.tolist() == known[small.truth_ids].tolist()
    assert as_dict(overlap) == {(known[g], known[p]): shared for (g, p), shared in as_dict(small).items()}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64, np.uint64])
def test_every_integer_type_is_welcome(dtype):
    truth = np.array([[1, 1, 0], [0, 0, 200]])
    overlap = Overlap.between(truth.astype(dtype), truth.astype(np.int32))
    assert as_dict(overlap) == {(1, 1): 2, (200, 200): 1}


@given(two_maps())
def test_components_are_those_of_skimage(maps):
    components = Overlap.between(*maps).components
    expected = Overlap.between(*(label(side, connectivity=2) for side in maps))
    assert components.truth_ids.tolist() == expected.truth_ids.tolist()
    assert components.truth_areas.tolist() == expected.truth_areas.tolist()
    assert components.prediction_areas.tolist() == expected.prediction_areas.tolist()
    assert as_dict(components) == as_dict(expected)


@given(two_maps(), st.booleans(), st.booleans())
def test_masks_give_the_table_of_the_label_maps_they_come_from(maps, truth_as_masks, prediction_as_masks):
    from_maps = Overlap.between(*maps)
    as_masks = truth_as_masks, prediction_as_masks
    sides = [Nuclei.from_labels(m) if asked else m for m, asked in zip(maps, as_masks)]
    overlap = Overlap.between(*sides)
    for table, expected in ((overlap, from_maps), (overlap.components, from_maps.components)):
        assert table.truth_areas.tolist() == expected.truth_areas.tolist()
        assert table.prediction_areas.tolist() == expected.prediction_areas.tolist()
        assert table.truth_of.tolist() == expected.truth_of.tolist()
        assert table.prediction_of.tolist() == expected.prediction_of.tolist()
        assert table.intersection.tolist() == expected.intersection.tolist()
        assert table.foreground == expected.foreground
    if not truth_as_masks:
        assert overlap.truth_ids.tolist() == from_maps.truth_ids.tolist()


def test_masks_that_cross_keep_all_their_pixels():
    upright, lying = np.zeros((5, 5), bool), np.zeros((5, 5), bool)
    upright[:, 2] = lying[2] = True
    crossing = Nuclei((5, 5), [(0, 0, 5, 5)] * 2, [upright, lying])
    overlap = Overlap.between(crossing, crossing)
    assert overlap.truth_areas.tolist() == [5, 5]
    assert as_dict(overlap) == {(1, 1): 5, (1, 2): 1, (2, 1): 1, (2, 2): 5}
    assert overlap.foreground == (9, 9, 9)


@given(two_maps(), st.data(), st.booleans())
def test_invalid_pixels_are_background_on_both_sides(maps, data, as_masks):
    valid = data.draw(arrays(bool, maps[0].shape))
    erased = Overlap.between(*(np.where(valid, side, 0) for side in maps))
    truth = Nuclei.from_labels(maps[0]) if as_masks else maps[0]
    overlap = Overlap.between(truth, maps[1], valid)
    assert overlap.truth_areas.tolist() == erased.truth_areas.tolist()
    assert overlap.intersection.tolist() == erased.intersection.tolist()
    assert overlap.foreground == erased.foreground
    assert overlap.components.intersection.tolist() == erased.components.intersection.tolist()


def test_rows_without_a_pixel_are_no_instances():
    nuclei = Nuclei((4, 4), [(0, 0, 2, 2), (1, 1, 3, 3)], [np.zeros((2, 2)), np.ones((2, 2))])
    overlap = Overlap.between(nuclei, nuclei)
    assert overlap.truth_ids.tolist() == [2]


def test_the_best_assignment_beats_the_greedy_one():
    # IoU: a-x 0.6 (greedy takes it), a-y 0.5, b-x 0.5: together the latter two are better.
    overlap = Overlap(
        *(np.array(column) for column in ([1, 2], [8, 8], [1, 2], [8, 4], [0, 0, 1], [0, 1, 0], [6, 4, 5])),
        foreground=(0, 0, 0),
        _source=None,
    )
    assert overlap.iou.round(3).tolist() == [0.6, 0.5, 0.455]
    assert overlap.one_to_one().tolist() == [1, 2]
    assert overlap.one_to_one(overlap.iou > 0.5).tolist() == [0]


def test_empty_maps_and_empty_nuclei_give_an_empty_table():
    nothing = np.zeros((3, 4), int)
    for truth, prediction in [(nothing, nothing), (Nuclei((3, 4)), nothing), (nothing[:0], nothing[:0])]:
        overlap = Overlap.between(truth, prediction)
        assert overlap.empty
        assert overlap.components.empty
        assert len(overlap.one_to_one()) == 0


LABELS = np.zeros((3, 4), int)


@pytest.mark.parametrize(
    ("truth", "prediction", "valid", "message"),
    [
        (LABELS, LABELS.T, None, r"truth is \(3, 4\), prediction \(4, 3\); check that they show one image"),
        (Nuclei((4, 3)), LABELS, None, r"truth is \(4, 3\), prediction \(3, 4\)"),
        (LABELS, LABELS - 1, None, "prediction holds negative ids; use 0 for background"),
        (LABELS - 1, LABELS, None, "truth holds negative ids"),
        (
            LABELS,
            LABELS.astype(float),
            None,
            r"prediction is float64 \(3, 4\), expected an integer label map",
        ),
        (LABELS > 0, LABELS, None, r"truth is bool \(3, 4\).*to_instances"),
        (LABELS[None], LABELS, None, r"truth is int64 \(1, 3, 4\)"),
        (LABELS, None, None, "prediction is object"),
        (LABELS, LABELS, np.ones((3, 4)), r"valid is float64 \(3, 4\), expected bool \(3, 4\)"),
        (
            Nuclei((3, 4)),
            Nuclei((3, 4)),
            np.ones((4, 3), bool),
            r"valid is bool \(4, 3\), expected bool \(3, 4\)",
        ),
    ],
)
def test_refuses_what_cannot_be_compared(truth, prediction, valid, message):
    with pytest.raises(InvalidPair, match=message):
        Overlap.between(truth, prediction, valid)
