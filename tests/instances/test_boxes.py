"""Detections to nuclei: where a mask lands, who gets a contested pixel, and that nobody is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucbook.instances.boxes import Detections, decode

M = 28


def detections(boxes, masks=None, scores=None, shape=(40, 50)):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    masks = np.ones((len(boxes), M, M), np.float32) if masks is None else np.array(masks, np.float32)
    scores = np.linspace(0.9, 0.6, len(boxes)) if scores is None else scores
    return Detections(shape, boxes, np.array(scores, np.float32), masks)


def disc(radius: float) -> np.ndarray:
    """A disc's probability on the grid: 1 inside `radius` cells from the middle, falling off over a cell."""
    step = np.arange(M) - (M - 1) / 2
    return np.clip(radius + 0.5 - np.hypot(step[:, None], step), 0, 1).astype(np.float32)


def test_a_full_mask_covers_the_pixels_whose_centres_its_box_holds():
    found = decode(detections([[3.4, 5.6, 10.4, 9.6]]))
    assert found.boxes.tolist() == [[6, 3, 10, 10]]  # rows 5.6 to 9.6: centres 6.5 to 9.5
    assert found.masks[0].all()


def test_a_disc_is_where_the_box_is():
    """20 px to 28 cells: a disc of 10.5 cells has 7.5 px, its middle is the box's."""
    found = decode(detections([[10, 5, 30, 25]], [disc(10.5)]))
    rows, columns = np.nonzero(found.to_labels())
    assert (rows.mean(), columns.mean()) == pytest.approx((14.5, 19.5), abs=0.05)
    assert found.areas[0] == pytest.approx(np.pi * 7.5**2, rel=0.03)


def test_a_contested_pixel_goes_to_the_surer_mask_not_to_the_higher_score():
    weak, sure = np.full((M, M), 0.6), np.full((M, M), 0.9)
    found = decode(detections([[0, 0, 10, 10], [5, 0, 15, 10]], [weak, sure], [0.9, 0.5]))
    assert found.boxes.tolist() == [[0, 0, 10, 5], [0, 5, 10, 15]]
    same = decode(detections([[0, 0, 10, 10], [5, 0, 15, 10]], [sure, sure], [0.5, 0.9]))
    assert same.boxes.tolist() == [[0, 0, 10, 10], [0, 10, 10, 15]]  # the earlier row


def test_a_detection_without_a_pixel_keeps_the_one_it_is_surest_of():
    hidden = np.full((M, M), 0.6)
    hidden[20, 7] = 0.7  # of 14 px: row 10, column 3
    cover = np.full((M, M), 0.9)
    found = decode(detections([[2, 2, 16, 16], [0, 0, 20, 20]], [hidden, cover]))
    assert len(found) == 2
    assert found.areas.tolist() == [1, 400]
    assert found.boxes[0].tolist() == [12, 5, 13, 6]


def test_the_threshold_is_that_of_a_pixel():
    found = [decode(detections([[0, 0, 28, 28]], [disc(9)]), t).areas[0] for t in (0.01, 0.5, 0.99)]
    assert found[0] > found[1] > found[2] > 0
    at = decode(detections([[0, 0, 4, 4]], [np.full((M, M), 0.5)]), 0.5)
    assert at.areas.tolist() == [16]  # from the threshold on


@pytest.mark.parametrize(
    "box", [[7, 7, 7, 7], [7.2, 7.2, 7.3, 7.3], [-5, -5, -1, -1], [49.9, 39.9, 60, 60], [3, 9, 20, 9]]
)
def test_a_box_of_no_area_or_outside_is_one_pixel_at_least(box):
    found = decode(detections([box]))
    assert len(found) == 1
    assert found.areas[0] >= 1


def test_nothing_found_is_no_nucleus():
    found = decode(detections([]))
    assert len(found) == 0
    assert found.shape == (40, 50)


@given(st.integers(0, 2**32 - 1), st.integers(1, 25))
def test_every_detection_is_a_nucleus_and_pixels_have_one_owner(seed, count):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(-3, 45, (count, 2)), rng.uniform(0, 25, (count, 2))
    found = detections(np.hstack([corner, corner + size]), rng.random((count, M, M)), rng.random(count))
    nuclei = decode(found)
    assert len(nuclei) == count
    assert np.array_equal(nuclei.scores, found.scores)
    owners = np.zeros(found.shape, int)
    for (r0, c0, r1, c1), mask in zip(nuclei.boxes, nuclei.masks):
        if mask.sum() > 1:  # a last pixel may be shared
            owners[r0:r1, c0:c1] += mask
    assert owners.max() <= 1
    assert np.array_equal(decode(found).to_labels(), nuclei.to_labels())
