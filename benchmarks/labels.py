"""What labels from points cost: one 1000×1000 image with about 500 points, on one core.

Cells of the points come from SciPy's distance transform; beside it, `targets.voronoi`, which is made for a
batch. Then the plain way: scikit-learn's k-means as it comes, and each nucleus cleaned on the whole image,
timed on one cell in ten. Ours starts from a sample of the pixels and stops later. How many pixels
get the same label from another seed is printed last.

    python benchmarks/labels.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import torch
from scipy import ndimage
from skimage.morphology import disk
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from benchmarks.targets import fastest
from nucbook import data, targets
from nucbook.data.tissue import simulate
from nucbook.papers.weaknucleiseg import labels
from nucbook.sample import Sample

REAL = "TCGA-18-5592-01Z-00-DX1"  # Kumar, training; 480 nuclei
ROUNDS = 5
EVERY = 10  # one cell in this many is cleaned the plain way


@threadpool_limits.wrap(limits=1)
def main() -> dict[str, float]:
    """Print the table, return seconds and ratios by name."""
    sample = slide()
    points, shape = sample.weaken("points").points, sample.shape
    pixels = labels._pixels(points, shape)
    features = labels.cluster_features(sample.image, points)
    found = labels.cluster_labels(features, points)
    best = fastest(
        {
            "Voronoi cells": lambda: labels._cells(pixels, shape),
            "Voronoi cells, targets.voronoi": lambda: targets.voronoi([torch.from_numpy(pixels)], shape),
            "Voronoi labels": lambda: labels.voronoi_labels(points, shape),
            "features": lambda: labels.cluster_features(sample.image, points),
            "cluster labels": lambda: labels.cluster_labels(features, points),
        },
        ROUNDS,
    )
    best = {name: milliseconds / 1000 for name, milliseconds in best.items()}
    together = sum(best[name] for name in ("Voronoi labels", "features", "cluster labels"))
    means = timed(lambda: KMeans(3, random_state=0).fit(features.reshape(-1, 4)))
    cleaning = EVERY * timed(lambda: clean_on_the_whole_image(found == labels.NUCLEUS, points))
    ratio = (means + cleaning) / best["cluster labels"]
    print(f"{sample.name}, {shape[0]}×{shape[1]}, {len(points)} points; best of {ROUNDS} rounds")
    for name, seconds in best.items():
        print(f"| {name:<35} | {seconds:7.2f} s |")
    print(f"| Voronoi and cluster labels together | {together:7.2f} s |")
    print(f"| plain k-means                       | {means:7.2f} s |")
    print(f"| plain cleaning                      | {cleaning:7.2f} s |")
    print(f"| plain, both                         | {means + cleaning:7.2f} s | {ratio:.0f} × cluster labels")
    same = float((labels.cluster_labels(features, points, seed=1) == found).mean())
    print(f"another seed gives {same:.2%} of the pixels the same label")
    return {**best, "together": together, "plain": means + cleaning, "ratio": ratio, "same": same}


def slide() -> Sample:
    """A Kumar image, where `NUCBOOK_DATA` has it, else simulated tissue."""
    try:
        items = data.items("kumar", "train")
    except data.MissingDataset:
        return simulate("breast", size=1000, seed=0)
    return next(item for item in items if item.name == REAL).read()


def clean_on_the_whole_image(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Some of the nuclei closed, filled and shrunk, each on an image of its own."""
    cells, out = labels._cells(labels._pixels(points, mask.shape), mask.shape), np.zeros_like(mask)
    for i in range(1, len(points) + 1, EVERY):
        nucleus = cv2.dilate((mask & (cells == i)).astype(np.uint8), disk(labels.GROW))
        out |= cv2.erode(ndimage.binary_fill_holes(nucleus).astype(np.uint8), disk(labels.SHRINK)) > 0
    return out


def timed(call: Callable[[], Any]) -> float:
    """Seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
