"""The door: what a Sample promises, what is converted on the way in, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from nucbook.nuclei import Nuclei
from nucbook.sample import InvalidSample, Sample, to_instances, to_rgb

IMAGE = np.full((6, 8, 3), 200, np.uint8)


def label_map():
    labels = np.zeros((6, 8), np.int32)
    labels[1:4, 1:4] = 7
    labels[2:5, 5:8] = 2
    return labels


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": IMAGE[..., 0]}, "expected uint8"),
        ({"image": IMAGE.astype(float)}, "to_rgb"),
        ({"image": IMAGE[:0]}, "expected uint8"),
        ({"instances": np.zeros((6, 7), int)}, r"instances are \(6, 7\), the image is \(6, 8\)"),
        ({"instances": np.zeros((6, 8))}, "to_instances"),
        ({"instances": np.full((6, 8), -1)}, "negative ids"),
        ({"instances": label_map(), "nuclei": Nuclei((6, 8))}, "both"),
        ({"nuclei": Nuclei((6, 9))}, "nuclei live in"),
        ({"points": [[6, 0]]}, r"point \(6, 0\) lies outside the 6×8 image; points are \(row, column\)"),
        ({"points": [[np.nan, 0]]}, "not finite"),
        ({"valid": np.ones((6, 8))}, "valid is float64"),
        ({"mpp": 0.0}, "micrometres per pixel"),
        ({"mpp": float("nan")}, "micrometres per pixel"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given, message):
    with pytest.raises(InvalidSample, match=message) as refusal:
        Sample(**{"image": IMAGE, "name": "slide 3", **given})
    assert "slide 3" in str(refusal.value)


def test_an_empty_mask_is_a_labelled_image_without_nuclei():
    sample = Sample(IMAGE, instances=np.zeros((6, 8), np.uint16))
    assert sample.labelled
    assert len(sample.truth) == 0
    assert sample.instances.dtype == np.int32


def test_truth_keeps_ids_in_order_and_classes():
    sample = Sample(IMAGE, label_map(), class_of={7: 3, 2: 1})
    assert sample.truth.classes.tolist() == [1, 3]
    assert sample.truth.areas.tolist() == [9, 9]


def test_weaken_leaves_nothing_to_peek_at():
    sample = Sample(IMAGE, label_map(), class_of={7: 3, 2: 1})
    points = sample.weaken("points")
    assert points.points.tolist() == [[3, 6], [2, 2]]
    for weak in (points, sample.weaken("nothing")):
        assert weak.instances is None
        assert weak.nuclei is None
        assert not weak.class_of
    assert sample.weaken("nothing").points is None
    drawn = Sample(IMAGE, label_map(), valid=label_map() > 0)  # as from outlines of faint nuclei
    assert drawn.weaken("nothing").valid is None
    with pytest.raises(ValueError, match="weaken to 'boxes'"):
        sample.weaken("boxes")


def test_unlabelled_sample_has_no_truth():
    with pytest.raises(InvalidSample, match="has no masks"):
        _ = Sample(IMAGE).truth


def test_crop_moves_everything_together():
    sample = Sample(IMAGE, label_map(), points=[[2, 2], [3, 6]], valid=np.ones((6, 8), bool), name="a")
    crop = sample.crop(1, 4, 4, 4)
    assert crop.points.tolist() == [[2, 2]]
    assert (crop.instances == label_map()[1:5, 4:8]).all()
    assert crop.meta["image"] == "a"
    assert crop.crop(0, 0, 2, 2).meta["image"] == "a"
    with pytest.raises(InvalidSample, match="leaves the 6×8 image"):
        sample.crop(3, 0, 4, 4)


def test_crop_of_overlapping_nuclei_equals_crop_of_their_map():
    labels = label_map()
    sample = Sample(IMAGE, nuclei=Nuclei.from_labels(labels))
    crop = sample.crop(2, 3, 3, 4)
    assert ((crop.label_map > 0) == (labels[2:5, 3:7] > 0)).all()


# -- to_rgb ----------------------------------------------------------------------------------

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (GREY, "grey"),
        (np.dstack([GREY] * 3 + [np.full_like(GREY, 255)]), "opaque alpha"),
        (np.dstack([GREY] * 3).astype(np.uint16), "8-bit values"),
        (np.dstack([GREY] * 3).astype(np.uint16) * 257, "divided by 257"),
        (np.dstack([GREY] * 3) / 255, "scaled to 0..255"),
        (np.dstack([GREY] * 3).astype(float), "8-bit values"),
    ],
)
def test_harmless_images_are_converted_and_said(image, said):
    with pytest.warns(UserWarning, match=said):
        rgb = to_rgb(image, "a.png")
    assert rgb.dtype == np.uint8
    assert (rgb == np.dstack([GREY] * 3)).all()


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (np.zeros((6, 8, 4), np.uint8), "transparent"),
        (np.full((6, 8, 3), 1000, np.uint16), "up to 1000"),
        (np.full((6, 8, 3), np.nan), "NaN"),
        (np.full((6, 8, 3), -0.5), "scale it"),
        (np.full((6, 8, 3), -5), "scale it"),
        (np.zeros((6, 8, 2), np.uint8), "2 channels"),
        (np.zeros((0, 8, 3), np.uint8), "not an image"),
        (np.zeros(5, np.uint8), "not an image"),
    ],
)
def test_images_that_need_a_guess_are_refused(image, why):
    with pytest.raises(InvalidSample, match=why) as refusal:
        to_rgb(image, "a.png")
    assert str(refusal.value).startswith("a.png: ")


# -- to_instances ----------------------------------------------------------------------------


MASK = label_map() > 0


@pytest.mark.parametrize("mask", [MASK, MASK * np.uint8(255), MASK * np.uint8(1), MASK * 1.0, MASK * 7])
def test_two_valued_masks_become_connected_components(mask):
    with pytest.warns(UserWarning, match=r"a\.png: a two-valued mask; its 2 connected components"):
        labels = to_instances(mask, "a.png")
    assert labels.dtype == np.int32
    assert set(np.unique(labels)) == {0, 1, 2}
    assert len({labels[2, 2], labels[3, 6]}) == 2


@pytest.mark.parametrize("value", [True, np.uint8(1), np.uint8(255), 7])
def test_a_single_piece_is_one_nucleus_and_nothing_to_say(value, recwarn):
    corner = np.zeros((4, 4), bool)
    corner[[0, 1], [0, 1]] = True  # two pixels that touch at a corner
    for mask in (corner, np.ones((4, 4), bool), np.zeros((4, 4), bool)):
        labels = to_instances(mask * value if value is not True else mask)
        assert labels.dtype == np.int32
        assert (labels == mask * int(value)).all()
    assert not recwarn.list


def test_an_id_in_two_components_beside_others_stays_one_nucleus(recwarn):
    labels = label_map()
    labels[5, 0] = 7
    assert (to_instances(labels) == labels).all()
    assert not recwarn.list


def test_whole_floats_and_repeated_channels_are_read():
    assert (to_instances(label_map().astype(float)) == label_map()).all()
    assert (to_instances(np.dstack([label_map()] * 3)) == label_map()).all()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (np.full((4, 4), 0.5), "fractions"),
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), -3), "negative"),
        (np.dstack([GREY, GREY + 1, GREY]), "not a label map"),
        (np.full((4, 4), "a"), "no label map"),
        (np.full((4, 4), 2**40), "int32"),
    ],
)
def test_masks_that_need_a_guess_are_refused(labels, why):
    with pytest.raises(InvalidSample, match=why):
        to_instances(labels)


def test_where_the_truth_is_complete_travels_with_the_sample():
    annotated = np.zeros((8, 9), bool)
    annotated[:4] = True
    valid = np.ones((8, 9), bool)
    valid[0] = False
    labels = np.zeros((8, 9), np.int32)
    labels[1:3, 2:5] = 1
    sample = Sample(np.zeros((8, 9, 3), np.uint8), labels, annotated=annotated, valid=valid)
    assert np.array_equal(sample.counted, annotated & valid)
    assert replace(sample, annotated=None).counted is valid
    assert Sample(sample.image, labels).counted is None
    assert sample.crop(3, 0, 2, 9).annotated.tolist() == [[True] * 9, [False] * 9]
    for weaker in ("points", "nothing"):
        assert sample.weaken(weaker).annotated is None
    with pytest.raises(InvalidSample, match="annotated is bool \\(2, 2\\), expected bool \\(8, 9\\)"):
        replace(sample, annotated=np.ones((2, 2), bool))
    with pytest.raises(InvalidSample, match="annotated given without masks"):
        Sample(sample.image, annotated=annotated)


def test_a_window_keeps_scores_classes_and_rotated_boxes():
    masks = [np.ones((4, 6), bool), np.ones((2, 2), bool)]
    nuclei = Nuclei(
        (20, 20),
        np.array([[2, 3, 6, 9], [15, 15, 17, 17]]),
        masks,
        scores=[0.5, 0.75],
        classes=[2, 1],
        rotated=[[3.5, 5.5, 6, 4, 0.25], [15.5, 15.5, 2, 2, 0]],
    )
    cut = Sample(np.zeros((20, 20, 3), np.uint8), nuclei=nuclei).crop(1, 2, 10, 10).nuclei
    assert cut.rotated.tolist() == [[2.5, 3.5, 6, 4, 0.25]]
    assert (cut.boxes.tolist(), cut.scores.tolist(), cut.classes.tolist()) == ([[1, 1, 5, 7]], [0.5], [2])
