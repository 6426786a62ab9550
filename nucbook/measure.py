"""What a trained method scores on a data set's test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nucbook import data
from nucbook.data import SIMULATED
from nucbook.metrics import evaluate_many
from nucbook.rows import Measured
from nucbook.sample import Sample

TRAIN = {"consep": "train", "kumar": "train", "monuseg": "train", "tnbc": "train"}
TEST = {
    "consep": "test",
    "kumar": "test",
    "monuseg": "test",
    "tnbc": ("validation", "test"),  # patients 7 to 11
}


def training_samples(dataset: str, profile: str) -> Sequence[Sample]:
    """The labelled training images of a data set; simulated tissue at profile "quick"."""
    return (
        data.load("tissue", "train")
        if profile == "quick"
        else data.load(dataset, TRAIN.get(dataset, "train"))
    )


def test_samples(dataset: str, profile: str) -> Sequence[Sample]:
    """The test images of a data set; simulated tissue at profile "quick"."""
    return (
        data.load("tissue", "test") if profile == "quick" else data.load(dataset, TEST.get(dataset, "test"))
    )


def measure(segment: Callable[[np.ndarray], np.ndarray], dataset: str, profile: str) -> Measured:
    """`score` on the test images of a data set."""
    return score(segment, test_samples(dataset, profile))


def score(segment: Callable[[np.ndarray], np.ndarray], samples: Sequence[Sample]) -> Measured:
    """All metrics of `segment(image) -> label map` on samples with masks.

    Returns the mean over images and a row an image, four digits; images empty on both sides are left out
    of the mean.
    """
    report = evaluate_many((s.label_map, segment(s.image), s.valid) for s in samples)
    short = lambda scores: {
        key: None if np.isnan(value) else round(value, 4) for key, value in scores.items()
    }
    rows = [{"name": s.name, **short(scores)} for s, scores in zip(samples, report.per_image)]
    simulated = any(s.meta.get("dataset") in SIMULATED for s in samples)
    return Measured(short(report.mean), rows, "simulated" if simulated else "real")
