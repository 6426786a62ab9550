"""Three of the field's Aggregated Jaccard Indices, which papers print under one name.

All add up intersections over the image, and divide by the unions plus the areas that found no
partner. They differ in who is partner of whom. `aji` (Kumar's) is the book's.
"""

from __future__ import annotations

import numpy as np

from nucbook.metrics.numbers import ratio
from nucbook.metrics.overlap import Overlap


def aji(overlap: Overlap) -> float:
    """Aggregated Jaccard Index by Kumar's rule, in [0, 1].

    Each true instance takes the prediction of highest IoU; equal IoUs go to the lowest id. Several
    may take the same prediction. Intersections of these pairs, summed, over their unions, plus the
    areas of true instances that meet no prediction, plus the areas of predictions nobody took.
    One side empty: 0. Both empty: NaN.

    Kumar et al., IEEE Transactions on Medical Imaging 36 (2017) 1550–1560, Algorithm 1, with the tie
    and reuse as in its authors' MATLAB code. HoVer-Net's `get_fast_aji` is the same rule.
    """
    return _aggregate(overlap, overlap.best_for_truth(overlap.iou))


def aji_plus(overlap: Overlap) -> float:
    """AJI+: as `aji`, with each prediction taken once at most, in [0, 1].

    Partners are those of the one-to-one assignment with the largest sum of IoU. All areas outside
    it are added to the denominator. It is not always above AJI: where two nuclei are predicted as
    one, AJI lets both take it. Between assignments of equal sum the order of ids decides. One side
    empty: 0. Both empty: NaN.

    Graham et al., Medical Image Analysis 58 (2019) 101563, released code (`get_fast_aji_plus`).
    """
    return _aggregate(overlap, overlap.one_to_one())


def aji_qu(overlap: Overlap) -> float:
    """AJI as computed for Qu et al. and WeakNucleiSeg, to compare with their numbers; in [0, 1].

    Two differences from `aji`: an instance is an 8-connected component of an id (`Overlap.components`),
    and a true one that meets no prediction is paired with prediction 1, the first in reading order. Its
    area and that of prediction 1 enter the denominator, for every miss again, and prediction 1
    counts as taken. A missed nucleus costs about twice what it does in `aji`. One side empty: 0. Both
    empty: NaN, where the original returns 0.

    Qu et al., IEEE Transactions on Medical Imaging 39 (2020) 3655–3666, released code (`AJI_fast`).
    """
    components = overlap.components
    pairs = components.best_for_truth(components.iou)
    missed = len(components.truth_ids) - len(pairs)
    if not missed or not len(components.prediction_ids):
        return _aggregate(components, pairs)
    not_taken = 0 not in components.prediction_of[pairs]  # then `_aggregate` counts it once
    return _aggregate(components, pairs, extra=(missed - not_taken) * components.prediction_areas[0])


def _aggregate(overlap: Overlap, pairs: np.ndarray, extra: float = 0) -> float:
    """Kumar's fraction for these pairs; `extra` pixels go to the denominator."""
    truth, prediction = overlap.truth_of[pairs], overlap.prediction_of[pairs]
    missed = np.delete(overlap.truth_areas, truth).sum()
    not_taken = np.delete(overlap.prediction_areas, prediction).sum()
    whole = overlap.union[pairs].sum() + missed + not_taken + extra
    return ratio(overlap.intersection[pairs].sum(), whole)
