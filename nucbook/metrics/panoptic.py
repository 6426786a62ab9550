"""Panoptic Quality: how many nuclei were found, times how well they were outlined.

Image by image here; `evaluate_pannuke` averages it over classes and tissues as PanNuke does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nucbook.metrics.numbers import mean_of_defined, ratio
from nucbook.metrics.overlap import InvalidPair, Overlap
from nucbook.nuclei import Nuclei


def panoptic(overlap: Overlap) -> dict[str, float]:
    """Detection quality, segmentation quality and their product: `dq`, `sq`, `pq`, each in [0, 1].

    A pair matches where IoU > 0.5; exactly 0.5 does not. TP pairs match, FP predictions and FN true
    instances do not: dq = TP / (TP + FP/2 + FN/2), sq = mean IoU of the matches, pq = dq · sq.
    Without overlaps within a side, no instance can match twice. Where instances do overlap, the
    one-to-one matching with the largest sum of IoU is taken, which is the one of largest pq. No
    match: all 0. Both sides empty: all NaN. The mean of pq over images is not mean dq · mean sq.

    Kirillov et al., CVPR 2019, Eq. 1.
    """
    matches = overlap.one_to_one(2 * overlap.intersection > overlap.union)
    dq = ratio(2 * len(matches), len(overlap.truth_ids) + len(overlap.prediction_ids))
    if not len(matches):
        return {"dq": dq, "sq": dq, "pq": dq}
    sq = float(overlap.iou[matches].mean())
    return {"dq": dq, "sq": sq, "pq": dq * sq}


@dataclass(frozen=True)
class PanNukeReport:
    """Panoptic Quality over a set of images, by PanNuke's rule.

    mean       : {"mpq", "bpq"}, means over tissues.
    per_tissue : {tissue: {"mpq", "bpq"}}, means over its images.
    per_class  : {class id: pq}, mean over the images whose truth holds the class.
    """

    mean: dict[str, float]
    per_tissue: dict[str, dict[str, float]]
    per_class: dict[int, float]


def evaluate_pannuke(
    pairs: Iterable[tuple[Nuclei, Nuclei]], tissues: Sequence[str], class_ids: Sequence[int] = (1, 2, 3, 4, 5)
) -> PanNukeReport:
    """mPQ and bPQ over (truth, prediction) `Nuclei` with classes, one tissue name a pair.

    An image's mPQ is the mean over classes of the PQ between its nuclei of one class. A class
    without a true nucleus in the image is left out, so what is predicted of it costs nothing; one
    without a prediction gives 0. bPQ takes all nuclei as one class, painted on one map, later
    classes over earlier ones; an image without a true nucleus is left out. Both are averaged over
    the images of a tissue, then over tissues. For the published figure average three such runs,
    one a fold. NaN where nothing is left to average.

    Raises InvalidPair where a side has no classes or there are not as many tissues as pairs.

    Gamper et al., arXiv:2003.10778, with the rule for absent classes of the released `run.py`; that
    one adds 1e-6 to the denominator of sq, this one does not.
    """
    pairs, tissues = list(pairs), list(tissues)
    if len(pairs) != len(tissues):
        raise InvalidPair(f"{len(tissues)} tissues for {len(pairs)} pairs; give one tissue a pair.")
    by_class = np.full((len(pairs), len(class_ids)), math.nan)
    binary = np.full(len(pairs), math.nan)
    for i, (truth, prediction) in enumerate(pairs):
        for name, side in (("truth", truth), ("prediction", prediction)):
            if not isinstance(side, Nuclei):
                raise InvalidPair(
                    f"pair {i}: {name} is {type(side).__name__}, which has no classes; "
                    "make it Nuclei.from_labels(labels, class_of=...)."
                )
        binary[i] = _pq_if_true(_painted(truth), _painted(prediction))
        for j, class_id in enumerate(class_ids):
            of_class = [side[side.classes == class_id] for side in (truth, prediction)]
            by_class[i, j] = _pq_if_true(*of_class)
    of_image = {"mpq": np.array([mean_of_defined(row) for row in by_class]), "bpq": binary}
    per_tissue = {}
    for tissue in sorted(set(tissues)):
        own = [i for i, name in enumerate(tissues) if name == tissue]
        per_tissue[tissue] = {key: mean_of_defined(values[own]) for key, values in of_image.items()}
    return PanNukeReport(
        mean={key: mean_of_defined([row[key] for row in per_tissue.values()]) for key in of_image},
        per_tissue=per_tissue,
        per_class={class_id: mean_of_defined(by_class[:, j]) for j, class_id in enumerate(class_ids)},
    )


def _pq_if_true(truth: np.ndarray | Nuclei, prediction: np.ndarray | Nuclei) -> float:
    overlap = Overlap.between(truth, prediction)
    return panoptic(overlap)["pq"] if len(overlap.truth_ids) else math.nan


def _painted(nuclei: Nuclei) -> np.ndarray:
    """Label map (H, W) in which later classes cover earlier ones, and later rows earlier ones."""
    labels = np.zeros(nuclei.shape, np.int32)
    for i in np.argsort(nuclei.classes, kind="stable"):
        r0, c0, r1, c1 = nuclei.boxes[i]
        labels[r0:r1, c0:c1][nuclei.masks[i]] = i + 1
    return labels
