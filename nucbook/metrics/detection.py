"""Nuclei as detections: the object F1 of one image, and average precision over a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely

from nucbook.metrics.numbers import mean_of_defined
from nucbook.metrics.overlap import InvalidPair, Overlap, checked, same_shape
from nucbook.metrics.panoptic import panoptic
from nucbook.nuclei import Nuclei

COCO_THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_RECALLS = np.linspace(0, 1, 101)


def f1_object(overlap: Overlap) -> float:
    """Object F1 at IoU > 0.5: TP / (TP + FP/2 + FN/2), in [0, 1].

    The same number as the detection quality of `panoptic`, under the name other papers give it; the
    matching, ties and empty cases are described there.
    """
    return panoptic(overlap)["dq"]


@dataclass(frozen=True)
class DetectionReport:
    """Average precision over a set of images.

    mean      : {"ap", "ap50", "ap55", …}: `ap` is the mean over the thresholds; means over classes.
    per_class : {class id: the same keys}, the classes of which a true nucleus exists.
    """

    mean: dict[str, float]
    per_class: dict[int, dict[str, float]]


def evaluate_detections(
    pairs: Iterable[tuple],
    by: str = "masks",
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    max_detections: int = 1000,
    by_class: bool = True,
) -> DetectionReport:
    """Average precision of scored predictions, by COCO's rules.

    pairs          : (truth, prediction) or (truth, prediction, valid) an image, each side `Nuclei`
                     or a label map (whose scores are 1 and classes 0); `valid` as in `Overlap.between`.
    by             : "masks", or "rotated": IoU of the rotated boxes, `Nuclei.rotated` or, where that is
                     None, the smallest ones round the masks.
    thresholds     : a prediction of IoU >= threshold can match (>=, unlike Panoptic Quality).
    max_detections : per image and class, best scores first. COCO's 100 would cut off most of a
                     1000×1000 slide, which holds hundreds of nuclei.
    by_class       : match within classes and average over them; otherwise nuclei are of one class.

    In each image predictions choose in order of their scores, each the free true nucleus of highest
    IoU, equal ones the earlier row. Over all images in order of score, precision at a recall is the
    best precision at that recall or beyond, and AP its mean over the recalls 0, 0.01, …, 1. Equal
    scores keep the order of images and rows: where a method gives no scores, AP says little.
    A class without a true nucleus is left out of the mean; with no true nucleus at all, all is NaN.
    With masks, a row without a (valid) pixel does not count.

    Raises InvalidPair for rotated boxes that are no boxes or come with `valid`, and where
    `Overlap.between` does; ValueError for another `by`.

    Lin et al., ECCV 2014, and the released `pycocotools`.
    """
    if by not in _IOU_OF:
        raise ValueError(f"by {by!r}? One of {', '.join(map(repr, _IOU_OF))}.")
    levels = np.asarray(thresholds, float)
    truth_class: list[int] = []
    classes, scores, hits = [np.zeros(0, int)], [np.zeros(0)], [np.zeros((len(levels), 0), bool)]
    for i, (truth, prediction, *valid) in enumerate(pairs):
        try:
            truth, prediction, meets = _IOU_OF[by](
                _as_nuclei(truth, "truth"), _as_nuclei(prediction, "prediction"), *valid
            )
        except InvalidPair as error:
            raise InvalidPair(f"pair {i}: {error}") from None
        if not by_class:
            truth, prediction = (replace(side, classes=np.zeros(len(side))) for side in (truth, prediction))
        rows = _best_of_each_class(prediction, max_detections)
        truth_class.extend(truth.classes.tolist())
        classes.append(prediction.classes[rows])
        scores.append(prediction.scores[rows])
        hits.append(_choose(rows, truth, prediction, meets, levels))
    predicted_class, confidence = np.concatenate(classes), np.concatenate(scores)
    found = np.concatenate(hits, axis=1)
    per_class = {}
    for class_id, count in sorted(Counter(truth_class).items()):
        own = np.flatnonzero(predicted_class == class_id)
        own = own[np.argsort(-confidence[own], kind="stable")]
        values = [_average_precision(hit, count) for hit in found[:, own]]
        named = {f"ap{100 * threshold:.0f}": value for threshold, value in zip(thresholds, values)}
        per_class[class_id] = {"ap": float(np.mean(values)), **named}
    keys = ["ap", *(f"ap{100 * threshold:.0f}" for threshold in thresholds)]
    mean = {key: mean_of_defined(row[key] for row in per_class.values()) for key in keys}
    return DetectionReport(mean, per_class)


def _as_nuclei(side: np.ndarray | Nuclei, name: str) -> Nuclei:
    side = checked(side, name)
    return side if isinstance(side, Nuclei) else Nuclei.from_labels(side)


def _best_of_each_class(nuclei: Nuclei, count: int) -> np.ndarray:
    """Rows by falling score, at most `count` of a class; equal scores keep their order."""
    order = np.argsort(-nuclei.scores, kind="stable")
    classes = nuclei.classes[order]
    return np.concatenate([order[:0], *(order[classes == c][:count] for c in np.unique(classes))])


def _choose(
    rows: np.ndarray, truth: Nuclei, prediction: Nuclei, meets: _Meets, thresholds: np.ndarray
) -> np.ndarray:
    """Whether each prediction of `rows`, in turn, finds a free true nucleus: bool (thresholds, rows)."""
    chooser, choice, iou = meets
    same_class = prediction.classes[chooser] == truth.classes[choice]
    chooser, choice, iou = chooser[same_class], choice[same_class], iou[same_class]
    order = np.lexsort((choice, -iou, chooser))  # best choice first
    choice, iou = choice[order], iou[order]
    begin, end = (np.searchsorted(chooser[order], rows, side) for side in ("left", "right"))
    free = np.ones((len(thresholds), len(truth)), bool)
    hits = np.zeros((len(thresholds), len(rows)), bool)
    for hit, first, last in zip(hits.T, begin, end):
        for pair in range(first, last):
            takes = (iou[pair] >= thresholds) & free[:, choice[pair]] & ~hit
            free[takes, choice[pair]] = False
            hit |= takes
    return hits


def _average_precision(hits: np.ndarray, count: int) -> float:
    """Area under precision over recall at 101 recalls; `hits` by falling score, `count` true nuclei."""
    found = np.cumsum(hits)
    recall = found / count
    precision = found / np.arange(1, len(hits) + 1)
    best_beyond = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best_beyond[np.searchsorted(recall, _RECALLS)].mean())


# -- the IoU of all pairs that meet ----------------------------------------------------------

_Meets = tuple[np.ndarray, np.ndarray, np.ndarray]  # prediction rows, truth rows, IoU


def _mask_iou(
    truth: Nuclei, prediction: Nuclei, valid: np.ndarray | None = None
) -> tuple[Nuclei, Nuclei, _Meets]:
    """Rows without a (valid) pixel are dropped."""
    overlap = Overlap.between(truth, prediction, valid)
    truth, prediction = truth[overlap.truth_ids - 1], prediction[overlap.prediction_ids - 1]
    return truth, prediction, (overlap.prediction_of, overlap.truth_of, overlap.iou)


def _rotated_iou(
    truth: Nuclei, prediction: Nuclei, valid: np.ndarray | None = None
) -> tuple[Nuclei, Nuclei, _Meets]:
    if valid is not None:
        raise InvalidPair("valid leaves out pixels, and rotated boxes have none; compare by='masks'.")
    same_shape(truth, prediction)
    truth_boxes, predicted_boxes = _polygons(truth, "truth"), _polygons(prediction, "prediction")
    chooser, choice = shapely.STRtree(truth_boxes).query(predicted_boxes)
    first, second = predicted_boxes[chooser], truth_boxes[choice]
    shared = shapely.area(shapely.intersection(first, second))
    return (
        truth,
        prediction,
        (chooser, choice, shared / (shapely.area(first) + shapely.area(second) - shared)),
    )


def _polygons(nuclei: Nuclei, name: str) -> np.ndarray:
    """The rotated boxes as shapely polygons (N,), x = column, y = row."""
    rotated = (nuclei.rotated_boxes() if nuclei.rotated is None else nuclei.rotated).astype(float)
    bad = np.flatnonzero(~(np.isfinite(rotated).all(1) & (rotated[:, 2:4] > 0).all(1)))
    if len(bad):
        row = bad[0]
        raise InvalidPair(
            f"{name}: rotated box {row} = {rotated[row].tolist()}; sides must be > 0, all numbers finite."
        )
    row, column, long, short, angle = rotated.T[..., None]  # (N, 1) each
    along, across = np.array([-1, 1, 1, -1]) * long / 2, np.array([-1, -1, 1, 1]) * short / 2
    x = column + along * np.cos(angle) - across * np.sin(angle)
    y = row + along * np.sin(angle) + across * np.cos(angle)
    return shapely.polygons(np.stack([x, y], axis=-1))  # (N, 4, 2)


_IOU_OF = {"masks": _mask_iou, "rotated": _rotated_iou}
