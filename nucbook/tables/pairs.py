"""Is a difference between two rows more than chance? The same images and seeds, pair by pair."""

from __future__ import annotations

import numpy as np
import pandas as pd

from nucbook.results import Results
from nucbook.rows import Table


def differences(
    table: Table, metric: str, against: str, profile: str = "quick", results: Results | None = None,
    draws: int = 2000, **cells: str,
) -> pd.DataFrame:
    """Mean difference of every row to the row `against`, with a 95 % bootstrap interval.

    metric  : a key of `nucbook.metrics.evaluate`.
    against : name of the row that is subtracted.
    profile : whose runs are taken; those at "quick" are on simulated tissue.
    draws   : of the bootstrap, which draws seeds with replacement, and within each seed images: both the
              training's luck and the choice of test images count.
    cells   : values of other columns that the rows have in common: labels, dataset.

    Rows are paired by seed, fold and image; what only one of them has is left out. Returns a frame
    indexed by row: mean, difference, low, high, seeds. Raises ValueError where `against` has no runs.
    """
    frame = (results or Results(table.paper)).frame()
    frame = frame[(frame.table == table.name) & (frame.profile == profile)]
    for column, value in cells.items():
        frame = frame[frame[column] == value]
    scores: dict[str, pd.DataFrame] = {}
    for row, runs in frame.set_index(["seed", "fold"]).groupby("row", sort=False):
        scores[row] = pd.DataFrame({
            key: {image["name"]: image[metric] for image in images} for key, images in runs.per_image.items()
        }, dtype=float).T
    if against not in scores:
        raise ValueError(f"{table.paper}/{table.name} has no {profile} run of {against!r}; run it first.")
    base, rng = scores[against], np.random.default_rng(0)
    found = {}
    for row, own in scores.items():
        gap = (own - base).dropna(how="all").dropna(axis=1, how="all").to_numpy()      # (seeds, images)
        seeds = rng.integers(0, len(gap), (draws, len(gap)))
        images = rng.integers(0, gap.shape[1], (draws, len(gap), gap.shape[1]))
        drawn = np.nanmean(gap[seeds[..., None], images], (1, 2))
        low, high = np.percentile(drawn, [2.5, 97.5])
        found[row] = {"mean": np.nanmean(own), "difference": np.nanmean(gap), "low": low, "high": high,
                      "seeds": len(gap)}
    return pd.DataFrame(found).T.rename_axis("row")
