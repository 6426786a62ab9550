"""What each kind of error costs: a prediction with one kind put right, measured again."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nucbook.metrics.evaluate import evaluate_many
from nucbook.metrics.overlap import Overlap

ERRORS = ("outlines", "false", "missed")
FOUND = 0.1  # IoU from which a prediction is of a nucleus, however badly outlined; Bolya et al.'s t_b


def put_right(error: str, truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """A prediction without one kind of error, label map (H, W).

    error             : "outlines", each predicted nucleus that is one has the true outline;
                        "false", predictions that are of no nucleus are removed;
                        "missed", nuclei without a prediction are added.
    truth, prediction : integer label maps (H, W), 0 = background.

    A prediction is of a nucleus where both are in the one-to-one assignment of the largest sum of IoU, among
    pairs of at least 0.1. So of two predictions on one nucleus one is false, and of two nuclei under one
    prediction one is missed. Where what is put in meets another prediction, that one loses the pixels.

    Bolya, Foley, Hays and Hoffman, ECCV (2020) 558–573, put errors right one kind at a time, in the same way,
    to see what each costs in average precision.
    Raises InvalidPair where `Overlap.between` does, ValueError for another error.
    """
    overlap = Overlap.between(truth, prediction)
    pairs = overlap.one_to_one(overlap.iou >= FOUND)
    own, found = overlap.truth_of[pairs], overlap.prediction_of[pairs]
    if error == "false":
        return np.where(np.isin(prediction, overlap.prediction_ids[found]), prediction, 0)
    if error == "missed":
        added = np.where(np.isin(truth, np.delete(overlap.truth_ids, own)), truth, 0)
        return np.where(added > 0, added.astype(np.int64) + prediction.max(initial=0), prediction)
    if error == "outlines":
        of_truth = np.zeros(int(truth.max(initial=0)) + 1, np.int64)
        of_truth[overlap.truth_ids[own]] = overlap.prediction_ids[found]
        others = np.where(np.isin(prediction, overlap.prediction_ids[found]), 0, prediction)
        return np.where(of_truth[truth] > 0, of_truth[truth], others)
    raise ValueError(f"no error {error!r}; there are {', '.join(ERRORS)}.")


def costs_of_errors(pairs: Iterable[tuple[np.ndarray, np.ndarray]], key: str = "aji") -> dict[str, float]:
    """What each kind of error costs, of label maps (truth, prediction): the gain where it is put right.

    key : of `nucbook.metrics.KEYS`.
    Returns {error: difference of the means over images}. The costs do not add up to what is missing to 1.
    """
    pairs = list(pairs)
    before = evaluate_many(pairs).mean[key]
    after = {error: [(t, put_right(error, t, p)) for t, p in pairs] for error in ERRORS}
    return {error: evaluate_many(right).mean[key] - before for error, right in after.items()}
