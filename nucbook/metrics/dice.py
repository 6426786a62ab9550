"""The metrics that go by the name of Dice, and the pixel IoU.

Papers print all three Dices as "Dice". Tables of the book say which one a published number is.
"""

from __future__ import annotations

import math

from nucbook.metrics.numbers import ratio
from nucbook.metrics.overlap import Overlap


def dice(overlap: Overlap) -> float:
    """Binary Dice: twice the shared foreground over the sum of both foregrounds, in [0, 1].

    Also called pixel F1, or Dice1. Which instance a pixel belongs to does not matter: two touching
    nuclei merged into one cost nothing. One side empty: 0. Both empty: NaN.

    Dice, Ecology 26 (1945) 297–302.
    """
    truth, prediction, both = overlap.foreground
    return ratio(2 * both, truth + prediction)


def iou(overlap: Overlap) -> float:
    """Binary IoU (Jaccard index): shared foreground over covered by either, in [0, 1].

    It orders two predictions for an image as `dice` does: IoU = Dice / (2 − Dice). One side empty:
    0. Both empty: NaN.

    Jaccard, New Phytologist 11 (1912) 37–50.
    """
    truth, prediction, both = overlap.foreground
    return ratio(both, truth + prediction - both)


def object_dice(overlap: Overlap) -> float:
    """Object-level Dice of the GlaS challenge: each instance's Dice with its partner, in [0, 1].

    Each true instance is paired with the prediction that covers most of its pixels, each prediction
    with the true instance of which it covers most (pixels, not IoU); equal overlaps go to the lowest
    id; without a partner the Dice is 0. The Dices are averaged on each side, weighted by area, and
    the two averages are averaged. The challenge's own code divides instances into connected
    components first; here an id is an instance. One side empty: 0. Both empty: NaN.

    Sirinukunwattana et al., Medical Image Analysis 35 (2017) 489–502.
    """
    truth, prediction = overlap.truth_areas, overlap.prediction_areas
    areas = truth[overlap.truth_of], prediction[overlap.prediction_of]
    pair_dice = 2 * overlap.intersection / (areas[0] + areas[1])
    of_truth = overlap.best_for_truth(overlap.intersection)
    of_prediction = overlap.best_for_prediction(overlap.intersection)
    sides = (
        ratio((areas[0] * pair_dice)[of_truth].sum(), truth.sum()),
        ratio((areas[1] * pair_dice)[of_prediction].sum(), prediction.sum()),
    )
    if overlap.empty:
        return math.nan
    return sum(0.0 if math.isnan(side) else side for side in sides) / 2


def ensemble_dice(overlap: Overlap) -> float:
    """Ensemble Dice, or Dice2: over all pairs that meet, twice the shared pixels over the sum of areas.

    A nucleus that meets k others is counted k times; one that meets none is not counted at all, so
    nuclei missed and nuclei invented are free. In [0, 1]. Nothing meets (one side empty included):
    0, where the field's code divides by zero. Both empty: NaN.

    Vu et al., Frontiers in Bioengineering and Biotechnology 7 (2019) 53; in words in Graham et al.,
    Medical Image Analysis 58 (2019) 101563.
    """
    if not len(overlap.intersection):
        return math.nan if overlap.empty else 0.0
    areas = overlap.truth_areas[overlap.truth_of] + overlap.prediction_areas[overlap.prediction_of]
    return ratio(2 * overlap.intersection.sum(), areas.sum())
