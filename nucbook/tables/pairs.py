"""Does the interval of a difference of two rows exclude zero? The same images and seeds, pair by pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from nucbook.results import Results
from nucbook.rows import Table
from nucbook.tables.stored import current


def differences(
    table: Table,
    metric: str,
    against: str,
    profile: str = "quick",
    results: Results | None = None,
    draws: int = 2000,
    **cells: str,
) -> pd.DataFrame:
    """Mean difference of every row to the row `against`, with a 95 % bootstrap interval.

    metric  : a key of `nucbook.metrics.evaluate`.
    against : name of the row that is subtracted.
    profile : whose runs are taken; those at "quick" are on simulated tissue.
    draws   : of the bootstrap, which draws seeds and images with replacement, each once a draw: all seeds
              have the same test images, so a hard image is hard in every one of them. Of one seed the
              interval holds the choice of images, and not the variance between seeds.
    cells   : values of other columns that the rows have in common: labels, dataset.

    Rows are paired by seed and image; the images of a seed's folds are joined. What only one of two rows
    has is left out. Runs of what a row was before are taken where it has no others. Returns a frame indexed
    by row: mean, difference, low, high, seeds. Raises ValueError where `against` has no runs.
    """
    frame = current(table, profile, results)
    for column, value in cells.items():
        frame = frame[frame[column] == value]
    if against not in set(frame.row):
        raise ValueError(f"{table.paper}/{table.name} has no {profile} run of {against!r}; run it first.")
    each = frame[["row", "seed", "dataset", "per_image"]].explode("per_image", ignore_index=True)
    image = pd.DataFrame(each.per_image.tolist())
    each = each.assign(image=image["name"], score=image[metric].astype(float))
    scores = {
        row: own.pivot_table("score", "seed", ["dataset", "image"])
        for row, own in each.groupby("row", sort=False)
    }
    base, rng = scores[against], np.random.default_rng(0)
    found = {}
    for row, own in scores.items():
        gap = (own - base).dropna(how="all").dropna(axis=1, how="all").to_numpy()  # (seeds, images)
        if not gap.size:
            continue  # no seed and image in common
        seeds = rng.integers(0, len(gap), (draws, len(gap), 1))
        images = rng.integers(0, gap.shape[1], (draws, 1, gap.shape[1]))
        drawn = np.nanmean(gap[seeds, images], (1, 2))
        low, high = np.percentile(drawn, [2.5, 97.5])
        found[row] = {
            "mean": np.nanmean(own),
            "difference": np.nanmean(gap),
            "low": low,
            "high": high,
            "seeds": len(gap),
        }
    return pd.DataFrame(found).T.rename_axis("row")


def p_value(own: pd.DataFrame, base: pd.DataFrame, metric: str) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test over images, of lines of two rows (Wilcoxon 1945).

    Scores of an image are averaged over seeds first: its repetitions are no further images. Of n images the
    exact test cannot go below 2 / 2ⁿ, .031 for six. 1 where no image differs, NaN without an image in common.
    """
    scores = [_by_image(lines, metric) for lines in (own, base)]
    gaps = (scores[0] - scores[1]).dropna()
    if not len(gaps):
        return float("nan")
    return float(wilcoxon(gaps).pvalue) if gaps.any() else 1.0


def _by_image(lines: pd.DataFrame, metric: str) -> pd.Series:
    images = pd.DataFrame([image for images in lines["per_image"] for image in images])
    return images.groupby("name")[metric].mean()
