"""The Dices where they part ways, by hand."""

import math

import numpy as np
import pytest

from nucbook.metrics import Overlap, dice, ensemble_dice, iou, object_dice

TRUTH = np.array([[1, 1, 1, 1, 0, 0, 2, 2, 0, 0]])


def against(*prediction) -> Overlap:
    return Overlap.between(TRUTH, np.array([prediction]))


def test_binary_dice_and_iou_count_pixels():
    overlap = against(1, 1, 0, 0, 0, 0, 2, 2, 2, 2)  # 4 of 6 found, 2 too many
    assert dice(overlap) == pytest.approx(8 / 12)
    assert iou(overlap) == pytest.approx(4 / 8)
    assert iou(overlap) == pytest.approx(dice(overlap) / (2 - dice(overlap)))


def test_merging_costs_binary_dice_nothing_and_the_others_something():
    overlap = against(7, 7, 7, 7, 0, 0, 7, 7, 0, 0)
    assert dice(overlap) == 1
    # Truth: 4/6 of weight at Dice 8/10, 2/6 at 4/8; prediction: its largest partner, 8/10.
    assert object_dice(overlap) == pytest.approx((4 / 6 * 0.8 + 2 / 6 * 0.5 + 0.8) / 2)
    assert ensemble_dice(overlap) == pytest.approx((8 + 4) / (10 + 8))


def test_missed_and_invented_nuclei_are_free_in_ensemble_dice():
    overlap = against(1, 1, 1, 1, 0, 0, 0, 0, 3, 3)
    assert ensemble_dice(overlap) == 1
    assert object_dice(overlap) == pytest.approx(4 / 6)
    assert ensemble_dice(against(0, 0, 0, 0, 5, 5, 0, 0, 0, 0)) == 0


def test_the_partner_in_object_dice_is_the_one_of_most_pixels_not_of_highest_iou():
    truth = np.array([[1, 1, 1, 1, 1] + [0] * 8])
    prediction = np.array([[8, 8, 9, 9, 9] + [9] * 8])  # IoU 2/5 with 8, 3/13 with 9
    # Truth with 9: 6/16. Prediction: 8 (2 px) 4/7, 9 (11 px) 6/16.
    expected = (6 / 16 + (2 * 4 / 7 + 11 * 6 / 16) / 13) / 2
    assert object_dice(Overlap.between(truth, prediction)) == pytest.approx(expected)


def test_equal_overlaps_go_to_the_lowest_id():
    truth = np.array([[1, 1, 1, 1, 0, 0]])
    low_is_tight, low_is_loose = np.array([[5, 5, 6, 6, 6, 6]]), np.array([[6, 6, 5, 5, 5, 5]])
    # Truth with the tight one 4/6, with the loose one 4/8; the predictions' side is the same.
    predictions = (2 * 4 / 6 + 4 * 4 / 8) / 6
    assert object_dice(Overlap.between(truth, low_is_tight)) == pytest.approx((4 / 6 + predictions) / 2)
    assert object_dice(Overlap.between(truth, low_is_loose)) == pytest.approx((4 / 8 + predictions) / 2)


@pytest.mark.parametrize("metric", [dice, iou, object_dice, ensemble_dice])
def test_empty_sides(metric):
    nothing = np.zeros_like(TRUTH)
    assert metric(Overlap.between(TRUTH, nothing)) == 0
    assert metric(Overlap.between(nothing, TRUTH)) == 0
    assert math.isnan(metric(Overlap.between(nothing, nothing)))
