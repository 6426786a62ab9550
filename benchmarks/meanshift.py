"""How fast mean shift is on the embeddings of one image: 60,000 pixels, 16 dimensions, 150 nuclei.

Beside it scikit-learn's `MeanShift(bin_seeding=True)`, whose time grows with the number of bins, and so
with the spread of a nucleus' embeddings. Both are held against the truth: in 16 dimensions the corner of
a bin is often farther than the bandwidth from every point of it, and such a seed finds nothing.

    python benchmarks/meanshift.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.cluster import MeanShift
from sklearn.metrics import adjusted_rand_score

from nucbook.instances.meanshift import mean_shift

PIXELS, DIMENSIONS, NUCLEI = 60_000, 16, 150
BANDWIDTH, APART = 1.5, 3.0  # embedding units: the ball, and the margin that pushes nuclei apart
SPREADS = (0.05, 0.1)  # embedding units, a dimension: 0.2 and 0.4 from the centre
OURS_ALONE = (0.2, 0.25)  # wider still, where scikit-learn takes many minutes
ROUNDS = 5


def main() -> dict[str, float]:
    """Print the table, return seconds, ratios and adjusted Rand indices by name."""
    result = {}
    for spread in SPREADS + OURS_ALONE:
        embeddings, truth = nuclei(spread)
        points = torch.from_numpy(embeddings)
        seconds = min(timed(mean_shift, points, BANDWIDTH)[0] for _ in range(ROUNDS))
        labels, modes = mean_shift(points, BANDWIDTH)
        rand = adjusted_rand_score(truth, labels)
        result |= {f"{spread} ours": seconds, f"{spread} rand": rand}
        ours = f"{seconds:5.2f} s, {len(modes)} nuclei, Rand index {rand:.4f}"
        print(f"| spread {spread:4} | ours {ours} | ", end="")
        if spread in SPREADS:
            theirs, found = timed(MeanShift(bandwidth=BANDWIDTH, bin_seeding=True).fit, embeddings)
            rand, ratio = adjusted_rand_score(truth, found.labels_), theirs / seconds
            print(f"scikit-learn {theirs:5.1f} s, Rand index {rand:.4f} | {ratio:4.0f} × ours |", end="")
            result |= {f"{spread} scikit-learn": theirs, f"{spread} ratio": ratio}
        print()
    return result


def nuclei(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (N, D) float32, and the nucleus of each."""
    generator = np.random.default_rng(0)
    centres = []
    while len(centres) < NUCLEI:
        centre = generator.normal(0, 2, DIMENSIONS)
        if all(np.linalg.norm(centre - other) > APART for other in centres):
            centres.append(centre)
    area = generator.uniform(0.3, 2, NUCLEI)  # large nuclei and small
    truth = generator.choice(NUCLEI, PIXELS, p=area / area.sum())
    noise = generator.normal(0, spread, (PIXELS, DIMENSIONS))
    return (np.array(centres)[truth] + noise).astype(np.float32), truth


def timed(call: Callable, *given) -> tuple[float, Any]:
    """Seconds and result."""
    start = time.perf_counter()
    found = call(*given)
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
