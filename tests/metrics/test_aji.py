"""The three AJIs where they part ways, by hand."""

import math

import numpy as np
import pytest

from nucbook.metrics import Overlap, aji, aji_plus, aji_qu


def row(truth: str, prediction: str) -> Overlap:
    """One row of pixels a side, a digit an id, "." background."""
    ids = lambda side: np.array([[int(digit) for digit in side.replace(".", "0")]])
    return Overlap.between(ids(truth), ids(prediction))


def test_two_nuclei_may_take_one_prediction_in_aji_but_not_in_aji_plus():
    overlap = row("1111.22", "7777777")
    assert aji(overlap) == pytest.approx((4 + 2) / (7 + 7))
    assert aji_plus(overlap) == pytest.approx(4 / (7 + 2))


def test_aji_takes_the_highest_iou_not_the_most_pixels():
    overlap = row("11111.......", "334444444444")  # IoU 2/5 with 3, 3/12 with 4
    assert aji(overlap) == pytest.approx(2 / (5 + 10))


def test_equal_ious_go_to_the_lowest_id():
    # Two predictions of IoU 1/4: one shares 2 of 8 pixels, the other 3 of 12.
    assert aji(row("11111111....", "44...5555555")) == pytest.approx(2 / (8 + 7))
    assert aji(row("11111111....", "55...4444444")) == pytest.approx(3 / (12 + 2))


def test_best_assignment_as_a_whole_is_not_the_greedy_one():
    # Greedy: 1 takes 5 (IoU 3/6), and 2 is left alone. 1 with 4 (2/5) and 2 with 5 (1/4) is the larger sum.
    overlap = row("11111.2", "44555.5")
    assert overlap.iou.tolist() == [2 / 5, 3 / 6, 1 / 4]
    assert aji_plus(overlap) == pytest.approx((2 + 1) / (5 + 4))


def test_a_missed_nucleus_is_paired_with_prediction_1_by_qu():
    overlap = row("111..22..3333", "555......6666")
    assert aji(overlap) == pytest.approx(7 / (7 + 2))
    assert aji_qu(overlap) == pytest.approx(7 / (7 + 2 + 3))
    twice = row("111..22.8", "555......")
    assert aji_qu(twice) == pytest.approx(3 / (3 + (2 + 3) + (1 + 3)))


def test_prediction_1_counts_as_taken_once_a_nucleus_is_missed():
    overlap = row("....22..3333", "55......6666")  # nobody meets 5
    assert aji(overlap) == pytest.approx(4 / (4 + 2 + 2))
    assert aji_qu(overlap) == pytest.approx(4 / (4 + (2 + 2)))


def test_qu_takes_components_for_objects():
    overlap = row("1.1", "5.6")
    assert aji(overlap) == pytest.approx(1 / (2 + 1))
    assert aji_qu(overlap) == 1


def test_qu_keeps_corners_together_and_touching_ids_apart():
    corner = np.array([[1, 0], [0, 1]])
    assert len(Overlap.between(corner, corner).components.truth_ids) == 1
    touching = np.array([[1, 2]])
    assert len(Overlap.between(touching, touching).components.truth_ids) == 2


@pytest.mark.parametrize("metric", [aji, aji_plus, aji_qu])
def test_empty_sides(metric):
    assert metric(row("11.2", "....")) == 0
    assert metric(row("....", "11.2")) == 0
    assert math.isnan(metric(row("....", "....")))
