"""What an annotator of picked windows hands back: known there and nowhere else, overlaps counted once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nucbook.nuclei import Nuclei
from nucbook.papers.whichpixel.picks import Picks, annotated, covered, cut_out, labelled_fraction
from nucbook.sample import InvalidSample, Sample


def squares(name: str) -> Sample:
    """48² px with a label map of 12² squares, 1 to 16 row by row."""
    labels = np.arange(1, 17, dtype=np.int32).reshape(4, 4).repeat(12, 0).repeat(12, 1)
    return Sample(np.full((48, 48, 3), ord(name), np.uint8), labels, name=name)


SAMPLES = [squares(name) for name in "abcd"]


def picked(*corners: tuple[str, int, int], size: int = 16) -> Picks:
    frame = pd.DataFrame(corners, columns=["image", "row", "column"])
    return Picks(size, frame.assign(cluster=range(len(corners)), picked=True), "")


def test_overlapping_windows_count_once():
    picks = picked(("a", 0, 0), ("a", 8, 8), ("b", 32, 32))
    assert covered(SAMPLES[0], picks).sum() == 2 * 256 - 64
    assert labelled_fraction(SAMPLES, picks) == pytest.approx((3 * 256 - 64) / (4 * 48**2))


def test_truth_is_known_in_the_windows_and_nowhere_else():
    """The window at (8, 8) holds corners of four squares of 12 px: 1, 2, 5 and 6."""
    points = np.array([[9, 9], [30, 30], [23.4, 23.4], [23.6, 9]])
    whole = replace(SAMPLES[0], points=points, class_of={1: 3, 9: 2}, valid=np.zeros((48, 48), bool))
    (found,) = annotated([whole, *SAMPLES[1:]], picked(("a", 8, 8)))
    assert found.name == "a"
    assert found.annotated.sum() == 256
    assert found.annotated[8:24, 8:24].all()
    np.testing.assert_array_equal(np.unique(found.instances), [0, 1, 2, 5, 6])
    np.testing.assert_array_equal(found.instances[8:24, 8:24], whole.instances[8:24, 8:24])
    assert not found.instances[~found.annotated].any()
    assert found.points.tolist() == [[9, 9], [23.4, 23.4]]
    assert found.class_of == {1: 3}
    np.testing.assert_array_equal(found.valid, ~found.annotated)
    np.testing.assert_array_equal(found.image, whole.image)


def test_a_window_without_a_nucleus_is_annotated_as_empty():
    empty = replace(SAMPLES[0], instances=np.zeros((48, 48), np.int32))
    (found,) = annotated([empty], picked(("a", 8, 8)))
    assert found.annotated.sum() == 256
    assert not found.instances.any()


def test_what_was_not_annotated_before_stays_so():
    before = np.zeros((48, 48), bool)
    before[:, :12] = True
    (found,) = annotated([replace(SAMPLES[0], annotated=before)], picked(("a", 8, 8)))
    assert found.annotated.sum() == 16 * 4


def test_overlapping_nuclei_are_cut_each_by_itself():
    masks = [np.ones((10, 10), bool), np.ones((10, 10), bool), np.ones((4, 4), bool)]
    nuclei = Nuclei((48, 48), [(0, 0, 10, 10), (5, 5, 15, 15), (30, 30, 34, 34)], masks, classes=[1, 2, 3])
    (found,) = annotated([Sample(SAMPLES[0].image, nuclei=nuclei, name="a")], picked(("a", 8, 8)))
    assert found.nuclei.boxes.tolist() == [[8, 8, 10, 10], [8, 8, 15, 15]]
    assert found.nuclei.classes.tolist() == [1, 2]


def test_windows_are_cut_out_in_their_order():
    found = cut_out(SAMPLES, picked(("b", 32, 31), ("a", 0, 8)))
    assert [sample.name for sample in found] == ["b@32,31", "a@0,8"]
    np.testing.assert_array_equal(found[0].image, SAMPLES[1].image[32:, 31:47])


def test_windows_without_their_image_or_their_masks_are_refused():
    with pytest.raises(ValueError, match="a window of 'e' is picked, which is not among the 4 samples"):
        annotated(SAMPLES, picked(("e", 0, 0)))
    with pytest.raises(InvalidSample, match="'b': has no masks, but picked windows; outline their nuclei"):
        annotated([SAMPLES[0], SAMPLES[1].weaken("nothing")], picked(("b", 0, 0)))
