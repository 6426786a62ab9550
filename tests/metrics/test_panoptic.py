"""Panoptic Quality of an image, and PanNuke's way to average it."""

import math

import numpy as np
import pytest

from nucbook.metrics import InvalidPair, Overlap, evaluate_pannuke, panoptic
from nucbook.nuclei import Nuclei


def bars(*boxes, classes=None) -> Nuclei:
    """Full boxes (r0, c0, r1, c1) as nuclei in a 20×20 image."""
    masks = [np.ones((r1 - r0, c1 - c0)) for r0, c0, r1, c1 in boxes]
    return Nuclei((20, 20), np.array(boxes, np.int32), masks, classes=classes)


def test_an_iou_of_exactly_a_half_is_no_match():
    truth = bars((0, 0, 4, 4))
    assert panoptic(Overlap.between(truth, bars((0, 0, 4, 2)))) == {"dq": 0, "sq": 0, "pq": 0}
    assert panoptic(Overlap.between(truth, bars((0, 0, 4, 3)))) == {"dq": 1, "sq": 0.75, "pq": 0.75}


def test_quality_is_detection_times_segmentation():
    truth = bars((0, 0, 4, 4), (0, 10, 4, 14), (10, 0, 14, 4))
    prediction = bars((0, 0, 4, 3), (0, 10, 4, 14))
    quality = panoptic(Overlap.between(truth, prediction))
    assert quality == pytest.approx({"dq": 4 / 5, "sq": 7 / 8, "pq": 7 / 10})


def test_two_predictions_on_one_nucleus_match_once_and_the_better_one_does():
    truth = bars((0, 0, 10, 10))
    prediction = bars((0, 0, 10, 8), (0, 0, 10, 9))
    assert panoptic(Overlap.between(truth, prediction)) == pytest.approx({"dq": 2 / 3, "sq": 0.9, "pq": 0.6})


# -- PanNuke ----------------------------------------------------------------------------------

ONE, TWO = (0, 0, 4, 4), (0, 10, 4, 14)
HALF_OF_ONE = (0, 0, 4, 3)  # IoU 0.75


def test_classes_absent_from_the_truth_are_left_out():
    truth = bars(ONE, classes=[1])
    prediction = bars(HALF_OF_ONE, TWO, classes=[1, 5])  # the nucleus of class 5 is invented
    report = evaluate_pannuke([(truth, prediction)], ["Breast"])
    assert report.mean == pytest.approx({"mpq": 0.75, "bpq": 0.75 * 2 / 3})
    assert report.per_class[1] == 0.75
    assert all(math.isnan(report.per_class[class_id]) for class_id in (2, 3, 4, 5))


def test_classes_missed_count_zero():
    truth = bars(ONE, TWO, classes=[1, 2])
    report = evaluate_pannuke([(truth, bars(ONE, classes=[1]))], ["Breast"])
    assert report.mean == pytest.approx({"mpq": 1 / 2, "bpq": 2 / 3})


def test_a_nucleus_found_under_another_class_counts_for_bpq_only():
    report = evaluate_pannuke([(bars(ONE, classes=[1]), bars(ONE, classes=[2]))], ["Breast"])
    assert report.mean == {"mpq": 0, "bpq": 1}


def test_images_without_a_true_nucleus_are_left_out_whatever_is_predicted():
    good = bars(ONE, classes=[1])
    nothing = bars()
    report = evaluate_pannuke([(good, good), (nothing, good), (nothing, nothing)], ["Colon"] * 3)
    assert report.mean == {"mpq": 1, "bpq": 1}


def test_tissues_weigh_the_same_however_many_images_they_have():
    truth, miss = bars(ONE, classes=[1]), bars()
    report = evaluate_pannuke(
        [(truth, truth), (truth, miss), (truth, miss), (bars(), miss)], ["Skin", "Liver", "Liver", "Lung"]
    )
    assert report.per_tissue["Skin"] == {"mpq": 1, "bpq": 1}
    assert report.per_tissue["Liver"] == {"mpq": 0, "bpq": 0}
    assert all(map(math.isnan, report.per_tissue["Lung"].values()))
    assert report.mean == {"mpq": 1 / 2, "bpq": 1 / 2}
    assert report.per_class[1] == pytest.approx(1 / 3)


def test_on_the_binary_map_later_classes_cover_earlier_ones():
    truth = bars((0, 0, 4, 8), (0, 4, 4, 8), classes=[2, 1])  # class 2 is painted over class 1
    report = evaluate_pannuke([(truth, bars((0, 0, 4, 8), classes=[2]))], ["Breast"])
    assert report.per_class[2] == 1
    assert report.mean["bpq"] == 1


@pytest.mark.parametrize(
    ("pairs", "tissues", "message"),
    [
        ([(bars(), bars())], [], "0 tissues for 1 pairs; give one tissue a pair"),
        ([(np.zeros((4, 4), int), bars())], ["Skin"], "pair 0: truth is ndarray, which has no classes"),
        ([(bars(), bars()), (bars(), None)], ["Skin"] * 2, "pair 1: prediction is NoneType"),
        ([(bars(), Nuclei((4, 4)))], ["Skin"], r"truth is \(20, 20\), prediction \(4, 4\)"),
    ],
)
def test_refuses_what_cannot_be_compared(pairs, tissues, message):
    with pytest.raises(InvalidPair, match=message):
        evaluate_pannuke(pairs, tissues)
