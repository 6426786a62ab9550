"""What a method learns from, and what it scores on a data set's test images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from nucbook import data
from nucbook.data import SIMULATED
from nucbook.data.catalog import CATALOG
from nucbook.data.patches import patches
from nucbook.metrics import evaluate_many
from nucbook.rows import Measured
from nucbook.sample import Sample
from nucbook.split import Parts, Split

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


def dealt(dataset: str, profile: str, labels: str, patch: int, seed: int) -> Parts:
    """The training images as patches, of which a share drawn by `seed` keeps its masks.

    labels : that share, as "1/8" or "100%".
    patch  : px, largest side of a patch; see `data.patches.patches`.

    A tenth of the images is held out for validation (Lin et al. 2025, Sec. 4.1.1), but where the data
    set brings a validation part of its own. With one seed a smaller share lies within a larger one.
    Raises ValueError for labels that are no share, and what `data.load` and `Split.make` raise.
    """
    try:
        share = float(Fraction(labels.removesuffix("%")) / (100 if labels.endswith("%") else 1))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"labels {labels!r} are no share of patches; write 1/8 or 100%.") from None
    samples = [each for image in training_samples(dataset, profile) for each in patches(image, patch)]
    own = profile == "quick" or "validation" in CATALOG[dataset].parts
    split = Split.make(samples, by="patch", labelled=share, validation=0 if own else 0.1, test=0, seed=seed)
    return split.apply(samples)


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
