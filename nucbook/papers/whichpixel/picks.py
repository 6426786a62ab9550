"""Picked windows, and what an annotator of them hands back: samples that know their truth in them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from nucbook.nuclei import Nuclei
from nucbook.sample import InvalidSample, Sample


@dataclass(frozen=True, eq=False)
class Picks:
    """Windows that a method chose, and those that it chose from.

    size    : side of a window, px.
    windows : a row for each window that could be picked:
              `image`, the name of its sample; `row`, `column`, px, of its first pixel;
              `cluster`, the coarse one; `coarse`, `fine`, `consistency`, the terms of Eq. 1;
              `score`, the sum of those that count, infinite where `candidates` excludes the window;
              `picked`. What a method does not compute is NaN, and the cluster −1.
    network : what describes the windows: "resnet50", "lite0", "random" or "colour"; "" where nothing does.
    """

    size: int
    windows: pd.DataFrame
    network: str

    @property
    def picked(self) -> pd.DataFrame:
        """The rows of the chosen windows, by cluster, or in the order of the images."""
        return self.windows[self.windows.picked].sort_values("cluster", kind="stable")


def covered(sample: Sample, picks: Picks) -> np.ndarray:
    """bool (H, W), True in the picked windows of a sample."""
    mask = np.zeros(sample.shape, bool)
    own = picks.picked[picks.picked.image == sample.name]
    for row, column in zip(own.row, own.column):
        mask[row : row + picks.size, column : column + picks.size] = True
    return mask


def annotated(samples: Sequence[Sample], picks: Picks) -> list[Sample]:
    """The samples with picked windows, which know their truth there and nowhere else.

    `annotated` of each is the union of its windows, less what its own leaves out. Nuclei are cut at its
    border; the points and classes of others are gone, and so is `valid` outside.

    Raises InvalidSample for a sample with windows and without masks, ValueError for windows of an image that
    is not among the samples.
    """
    there = {sample.name for sample in samples}
    for name in picks.picked.image:
        if name not in there:
            raise ValueError(
                f"a window of {name!r} is picked, which is not among the {len(samples)} samples; give those "
                "that were picked from."
            )
    found = []
    for sample in samples:
        mask = covered(sample, picks)
        if not mask.any():
            continue
        if not sample.labelled:
            raise InvalidSample(
                f"sample {sample.name!r}: has no masks, but picked windows; outline their nuclei first."
            )
        found.append(_only(sample, mask if sample.annotated is None else mask & sample.annotated))
    return found


def _only(sample: Sample, mask: np.ndarray) -> Sample:
    """A labelled sample that knows its truth in a mask (H, W) alone."""
    points, labels, nuclei = sample.points, sample.instances, sample.nuclei
    if points is not None:
        row, column = np.floor(points + 0.5).astype(int).T
        points = points[mask[row, column]]
    if labels is not None:
        labels = np.where(mask, labels, 0)
    if nuclei is not None:
        nuclei = _cut(nuclei, mask)
    ids = set(np.unique(labels).tolist()) if labels is not None else set()
    return replace(
        sample,
        instances=labels,
        nuclei=nuclei,
        points=points,
        class_of={i: kind for i, kind in sample.class_of.items() if i in ids},
        annotated=mask,
        valid=None if sample.valid is None else sample.valid | ~mask,
    )


def _cut(nuclei: Nuclei, mask: np.ndarray) -> Nuclei:
    inside = [own & mask[t:b, l:r] for (t, l, b, r), own in zip(nuclei.boxes, nuclei.masks)]
    return replace(nuclei, masks=inside).tight()


def labelled_fraction(samples: Sequence[Sample], picks: Picks) -> float:
    """Pixels of all samples that lie in a picked window, of the union where windows overlap; in [0, 1]."""
    inside = sum(int(covered(sample, picks).sum()) for sample in samples)
    return inside / sum(sample.image.shape[0] * sample.image.shape[1] for sample in samples)


def cut_out(samples: Sequence[Sample], picks: Picks) -> list[Sample]:
    """The picked windows as samples of their own, in the order of `picks.picked`."""
    by_name = {sample.name: sample for sample in samples}
    return [
        by_name[name].crop(row, column, picks.size, picks.size)
        for name, row, column in picks.picked[["image", "row", "column"]].itertuples(index=False)
    ]
