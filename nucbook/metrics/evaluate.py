"""All metrics of one image, and their means over many."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nucbook.metrics.aji import aji, aji_plus, aji_qu
from nucbook.metrics.dice import dice, ensemble_dice, iou, object_dice
from nucbook.metrics.numbers import mean_of_defined
from nucbook.metrics.overlap import InvalidPair, Overlap
from nucbook.metrics.panoptic import panoptic
from nucbook.nuclei import Nuclei

KEYS = (
    "dice",
    "object_dice",
    "ensemble_dice",
    "iou",
    "aji",
    "aji_plus",
    "aji_qu",
    "dq",
    "sq",
    "pq",
    "f1_object",
)
VALUE_OF_EMPTY = {"skip": math.nan, "zero": 0.0, "one": 1.0}


def evaluate(
    truth: np.ndarray | Nuclei, prediction: np.ndarray | Nuclei, valid: np.ndarray | None = None
) -> dict[str, float]:
    """Every metric of one image, each in [0, 1], higher is better; keys are `KEYS`.

    truth, prediction : integer label map (H, W), 0 = background, or `Nuclei`, which may overlap.
    valid             : bool (H, W), False where neither side counts; None = everywhere.

    No instance on one side: all 0. On neither: all NaN, and the policy of `evaluate_many` decides.
    Raises InvalidPair where `Overlap.between` does. Rules, ties and sources: the function of each key.
    """
    overlap = Overlap.between(truth, prediction, valid)
    quality = panoptic(overlap)
    return {
        "dice": dice(overlap),
        "object_dice": object_dice(overlap),
        "ensemble_dice": ensemble_dice(overlap),
        "iou": iou(overlap),
        "aji": aji(overlap),
        "aji_plus": aji_plus(overlap),
        "aji_qu": aji_qu(overlap),
        **quality,
        "f1_object": quality["dq"],  # see `f1_object`
    }


@dataclass(frozen=True)
class Report:
    """What `evaluate_many` measured.

    per_image : `evaluate` of each pair, in order; NaN where both sides were empty.
    mean      : mean over images under the policy.
    empty     : how many images were empty on both sides.
    policy    : what those counted as: "skip", "zero" or "one".
    """

    per_image: list[dict[str, float]]
    mean: dict[str, float]
    empty: int
    policy: str

    def __str__(self) -> str:
        left_out = {"skip": "left out", "zero": "counted as 0", "one": "counted as 1"}[self.policy]
        head = f"{len(self.per_image)} images, {self.empty} of them empty on both sides ({left_out})"
        return "\n".join([head, *(f"  {key:<14}{value:.4f}" for key, value in self.mean.items())])


def evaluate_many(pairs: Iterable[tuple], empty: str = "skip") -> Report:
    """`evaluate` over (truth, prediction) or (truth, prediction, valid) of each image, and the means.

    empty : what an image with no instance on either side counts as in the mean. "skip" leaves it
            out, "zero" and "one" count it so. Each is in use in published code, and where a set has
            many empty images they differ by points, so the report says how many there were.

    Means are over images, not pooled over pixels or nuclei. NaN where every image was left out.
    Raises ValueError for no pair at all or another policy, InvalidPair (with the pair's position)
    where `evaluate` does.
    """
    if empty not in VALUE_OF_EMPTY:
        raise ValueError(f"empty={empty!r}? One of {', '.join(map(repr, VALUE_OF_EMPTY))}.")
    per_image = []
    for i, pair in enumerate(pairs):
        try:
            per_image.append(evaluate(*pair))
        except InvalidPair as error:
            raise InvalidPair(f"pair {i}: {error}") from None
    if not per_image:
        raise ValueError("no pairs to evaluate; was the test part empty, or the iterator used before?")
    counted = lambda value: VALUE_OF_EMPTY[empty] if math.isnan(value) else value
    return Report(
        per_image=per_image,
        mean={key: mean_of_defined(counted(row[key]) for row in per_image) for key in KEYS},
        empty=sum(math.isnan(row["dice"]) for row in per_image),
        policy=empty,
    )
