"""Average precision: values by hand, and COCO's rules once more in plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucbook.metrics import InvalidPair, Overlap, evaluate, evaluate_detections, f1_object
from nucbook.metrics.detection import COCO_THRESHOLDS
from nucbook.nuclei import Nuclei


def squares(*corners, side=4, shape=(20, 20), **columns) -> Nuclei:
    boxes = [(r, c, r + side, c + side) for r, c in corners]
    return Nuclei(shape, np.array(boxes, np.int32), [np.ones((side, side))] * len(boxes), **columns)


TRUTH = squares((0, 0), (0, 10))


def test_truth_against_itself_has_ap_1():
    report = evaluate_detections([(TRUTH, TRUTH)])
    assert report.mean == dict.fromkeys(["ap", *(f"ap{t}" for t in range(50, 100, 5))], 1.0)
    assert list(report.per_class) == [0]


def test_a_confident_mistake_costs_precision_at_every_recall():
    wrong_first = squares((10, 10), (0, 0), (0, 10), scores=[0.9, 0.8, 0.7])
    # Precision 1/2 after the first hit, 2/3 after the second; the better one holds for lower recalls.
    assert evaluate_detections([(TRUTH, wrong_first)]).mean["ap50"] == pytest.approx(2 / 3)
    wrong_last = squares((10, 10), (0, 0), (0, 10), scores=[0.1, 0.8, 0.7])
    assert evaluate_detections([(TRUTH, wrong_last)]).mean["ap50"] == 1


def test_half_of_the_nuclei_found_give_the_recalls_up_to_a_half():
    assert evaluate_detections([(TRUTH, TRUTH[:1])]).mean["ap"] == pytest.approx(51 / 101)


def test_a_nucleus_is_found_once():
    twice = squares((0, 0), (0, 0), scores=[0.9, 0.8])
    assert evaluate_detections([(TRUTH[:1], twice)]).mean["ap"] == 1
    assert evaluate_detections([(TRUTH, twice)]).mean["ap"] == pytest.approx(51 / 101)


def test_an_iou_at_the_threshold_is_a_match():
    half = Nuclei((20, 20), [(0, 0, 4, 2)], [np.ones((4, 2))])
    report = evaluate_detections([(TRUTH[:1], half)])
    assert (report.mean["ap50"], report.mean["ap55"], report.mean["ap"]) == (1, 0, pytest.approx(0.1))
    assert evaluate(TRUTH[:1], half)["dq"] == 0  # Panoptic Quality wants more than 0.5


def test_scores_are_compared_across_images():
    right, wrong = TRUTH[:1], squares((10, 10), scores=[0.5])
    sure, unsure = squares((0, 0), scores=[0.9]), squares((0, 0), scores=[0.1])
    assert evaluate_detections([(right, sure), (right, wrong)]).mean["ap"] == pytest.approx(51 / 101)
    assert evaluate_detections([(right, unsure), (right, wrong)]).mean["ap"] == pytest.approx(51 / 101 / 2)


def test_hundreds_of_nuclei_are_not_cut_off_at_100():
    grid = squares(*[(r, c) for r in range(0, 72, 6) for c in range(0, 78, 6)], shape=(80, 80))
    assert len(grid) == 156
    assert evaluate_detections([(grid, grid)]).mean["ap"] == 1
    assert evaluate_detections([(grid, grid)], max_detections=100).mean["ap"] == pytest.approx(65 / 101)


def test_a_match_needs_the_same_class_and_absent_classes_do_not_count():
    truth = squares((0, 0), (0, 10), classes=[1, 2])
    prediction = squares((0, 0), (0, 10), (10, 10), classes=[1, 1, 3], scores=[0.9, 0.8, 0.7])
    report = evaluate_detections([(truth, prediction)])
    assert {class_id: row["ap"] for class_id, row in report.per_class.items()} == {1: 1.0, 2: 0.0}
    assert report.mean["ap"] == 0.5
    assert evaluate_detections([(truth, prediction)], by_class=False).mean["ap"] == 1


def test_nuclei_outside_the_valid_region_do_not_count():
    valid = np.zeros((20, 20), bool)
    valid[:, :8] = True
    assert evaluate_detections([(TRUTH, TRUTH[:1], valid)]).mean["ap"] == 1
    both = squares((0, 0), (0, 10), scores=[0.1, 0.9])
    assert evaluate_detections([(TRUTH[:1], both, valid)]).mean["ap"] == 1
    assert evaluate_detections([(TRUTH[:1], both)]).mean["ap"] == pytest.approx(1 / 2)


def test_label_maps_are_welcome():
    assert evaluate_detections([(TRUTH.to_labels(), TRUTH)]).mean["ap"] == 1


def test_no_true_nucleus_leaves_nothing_to_average():
    report = evaluate_detections([(Nuclei((20, 20)), TRUTH)])
    assert all(map(math.isnan, report.mean.values()))
    assert report.per_class == {}
    assert evaluate_detections([(TRUTH, Nuclei((20, 20)))]).mean["ap"] == 0


# -- rotated boxes ----------------------------------------------------------------------------


def turned(*boxes, scores=None) -> Nuclei:
    dots = [(0, 0, 1, 1)] * len(boxes)  # masks play no part here
    return Nuclei((100, 100), dots, [np.ones((1, 1))] * len(boxes), scores, rotated=np.array(boxes))


@pytest.mark.parametrize(
    ("box", "other", "iou"),
    [
        # A square and the same turned by 45° share an octagon: IoU = 1/√2.
        ((50, 50, 10, 10, 0), (50, 50, 10, 10, np.pi / 4), 2**-0.5),
        # A cross of two bars 20×4 shares 4×4: IoU = 16 / 144.
        ((50, 50, 20, 4, 0), (50, 50, 20, 4, np.pi / 2), 16 / 144),
        # The angle goes from the column axis to the row axis: moved along itself by half its length.
        ((50, 50, 20, 4, np.pi / 6), (55, 50 + 5 * 3**0.5, 20, 4, np.pi / 6), 1 / 3),
        ((50, 50, 20, 4, 1), (50, 50, 20, 4, 1), 1),
        ((20, 20, 10, 4, 1), (60, 60, 10, 4, 1), 0),
    ],
)
def test_iou_of_rotated_boxes(box, other, iou):
    thresholds = np.unique(np.clip([iou - 1e-5, iou + 1e-5], 1e-9, 2))
    report = evaluate_detections([(turned(box), turned(other))], by="rotated", thresholds=thresholds)
    assert report.per_class[0]["ap"] == pytest.approx((iou > 0) / len(thresholds))


def test_boxes_are_fitted_to_masks_where_there_are_none():
    bar = np.eye(30, dtype=bool) | np.eye(30, k=1, dtype=bool)
    nuclei = Nuclei((40, 40), [(2, 2, 32, 32)], [bar])
    fitted = Nuclei((40, 40), [(0, 0, 1, 1)], [np.ones((1, 1))], rotated=nuclei.rotated_boxes())
    assert evaluate_detections([(nuclei, fitted)], by="rotated").mean["ap"] == 1


# -- COCO's rules in plain loops --------------------------------------------------------------


def slow_ap(pairs, threshold) -> float:
    count, found = 0, []
    for truth, prediction in pairs:
        count += len(truth)
        canvas = lambda nuclei, i: Nuclei.to_labels(nuclei[[i]]) > 0
        taken = set()
        for p in sorted(range(len(prediction)), key=lambda i: -prediction.scores[i]):
            best, choice = threshold, None
            for g in range(len(truth)):
                a, b = canvas(truth, g), canvas(prediction, p)
                iou = (a & b).sum() / (a | b).sum()
                if g not in taken and (iou > best or (iou == best and choice is None)):
                    best, choice = iou, g
            taken.add(choice)
            found.append((prediction.scores[p], choice is not None))
    found.sort(key=lambda item: -item[0])
    curve, hits = [], 0
    for rank, (_, hit) in enumerate(found, start=1):
        hits += hit
        curve.append((hits / count, hits / rank))
    recalls = np.linspace(0, 1, 101)
    return sum(max((p for r, p in curve if r >= recall), default=0) for recall in recalls) / 101


@st.composite
def scored_nuclei(draw):
    rows = draw(st.lists(st.tuples(arrays(bool, (5, 5)), st.sampled_from([0.1, 0.2, 0.5, 0.9])), max_size=4))
    masks, scores = [mask for mask, _ in rows], [score for _, score in rows]
    return Nuclei((5, 5), [(0, 0, 5, 5)] * len(rows), masks, scores).tight()


@given(st.lists(st.tuples(scored_nuclei(), scored_nuclei()), min_size=1, max_size=3))
def test_agrees_with_a_slow_implementation(pairs):
    measured = evaluate_detections(pairs, thresholds=(0.3, *COCO_THRESHOLDS)).mean
    if not sum(len(truth) for truth, _ in pairs):
        assert math.isnan(measured["ap"])
        return
    expected = {f"ap{100 * t:.0f}": slow_ap(pairs, t) for t in (0.3, *COCO_THRESHOLDS)}
    assert measured == pytest.approx({"ap": np.mean(list(expected.values()))} | expected)


# -- the object F1, and what is refused -----------------------------------------------------------


def test_object_f1_counts_matches():
    overlap = Overlap.between(TRUTH, squares((0, 1), (10, 10), (10, 0)))
    assert f1_object(overlap) == 2 * 1 / (2 + 3)  # IoU 12/20 matches


@pytest.mark.parametrize(
    ("pair", "by", "message"),
    [
        ((TRUTH, TRUTH, np.ones((20, 20), bool)), "rotated", "pair 1: valid leaves out pixels"),
        ((turned((5, 5, 4, 0, 0)), turned()), "rotated", "truth: rotated box 0 = .*sides must be > 0"),
        ((turned(), turned((5, 5, 4, 2, np.nan))), "rotated", "prediction: rotated box 0"),
        ((TRUTH, Nuclei((9, 9))), "rotated", r"pair 1: truth is \(20, 20\), prediction \(9, 9\)"),
        ((TRUTH, Nuclei((9, 9))), "masks", r"pair 1: truth is \(20, 20\), prediction \(9, 9\)"),
        ((TRUTH, np.zeros((20, 20))), "masks", "prediction is float64.*expected an integer label map"),
    ],
)
def test_refuses_what_cannot_be_compared(pair, by, message):
    with pytest.raises(InvalidPair, match=message):
        evaluate_detections([(TRUTH, TRUTH), pair], by=by)


def test_refuses_another_kind_of_box():
    with pytest.raises(ValueError, match=r"by 'boxes'\? One of 'masks', 'rotated'"):
        evaluate_detections([(TRUTH, TRUTH)], by="boxes")
