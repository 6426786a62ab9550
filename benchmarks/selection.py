"""What the choice of windows costs, and how far its two features agree.

Windows of 256 px, 15 px apart, described by EfficientNet-Lite0: a whole selection by CPS from pixels to
picks, in a process of its own; `dense` beside the network's pass over the image, and `exact` beside its pass
over windows that were cut out before, processor time. Then how the distances between windows under one
feature go with those under the other (Pearson's correlation over all pairs), and how many of nine picks are
the same: on the upper left 512² px of two images, and for windows of 128 px on tiles of simulated tissue.
Last, where the picks of the whole images lie (seed 0).

    python benchmarks/selection.py [images, 12]
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import pdist
from torch import nn

from benchmarks.targets import fastest
from nucbook import data
from nucbook.data.tissue import simulate
from nucbook.papers.whichpixel.config import Selection
from nucbook.papers.whichpixel.features import (
    BATCH,
    Features,
    available,
    build,
    describe,
    padded,
    tensor,
    windows,
)
from nucbook.papers.whichpixel.picks import Picks, labelled_fraction
from nucbook.papers.whichpixel.selection import pick, vectors
from nucbook.sample import Sample
from nucbook.training.stages import StageRunner

CONFIG = Selection.short("kumar")
WINDOWS = 64  # that `exact` is timed on
SIDE, IMAGES, TILES = 512, 2, 6  # px and number of the images, number of tiles, of the comparison
ROUNDS = 5


def main(images: int = 12) -> dict[str, float]:
    """Print the table, return seconds, ratios and agreement by name."""
    samples = slides(images)
    network, weights = available(CONFIG.network)
    height, width = samples[0].shape
    print(f"{images} images {height}×{width}, {network}, {weights or 'random weights'}, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        found, chosen = apart.submit(selection, images).result()
    crops = [sample.crop(0, 0, min(SIDE, height), min(SIDE, width)) for sample in samples[:IMAGES]]
    net = build(network, tensor(crops[0].image), seed=0)
    found |= costs(net, samples[0].image)
    found |= agreement(crops, CONFIG)
    found |= agreement(data.load("tissue", "train")[:: 48 // TILES], Selection.quick())
    for name, value in found.items():
        print(f"| {name:<44} | {value:9.2f} |")
    print(f"\npicked windows of {CONFIG.size} px, image, row, column: {', '.join(chosen)}")
    return found


def slides(count: int) -> list[Sample]:
    """Training images of Kumar, where `NUCBOOK_DATA` has them, else simulated tissue of their size."""
    try:
        return list(islice(data.load("kumar", "train"), count))
    except data.MissingDataset:
        return [simulate("breast", size=1000, seed=seed) for seed in range(count)]


def selection(images: int) -> tuple[dict[str, float], list[str]]:
    """Seconds and memory of `pick` in a fresh process, vectors first, then Algorithm 1; and its picks."""
    samples = slides(images)
    with tempfile.TemporaryDirectory() as folder:
        runner = StageRunner(folder=folder, progress=False)
        first, picks = timed(lambda: pick(runner, CONFIG, samples))
        again, _ = timed(lambda: pick(runner, Selection.short("tnbc"), samples))  # K₁ = 6, the same vectors
        kept = sum(file.stat().st_size for file in Path(folder).rglob("*.npy"))
    found = {
        "windows": len(picks.windows),
        "from pixels to picks, s": first,
        "again with another K₁, s": again,
        "labelled fraction, %": 100 * labelled_fraction(samples, picks),
        "vectors on disk, MB": kept / 1e6,
        "peak memory, GB": peak(),
    }
    return found, [f"{image} {row} {column}" for image, row, column in sorted(places(picks))]


def peak() -> float:
    """Gigabytes that this process had in memory at most; NaN where the system does not tell."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 / 1e9 if found else np.nan


def costs(net: nn.Module, image: np.ndarray) -> dict[str, float]:
    """Both features of an image beside the network's own passes; rounds take turns."""
    corners = windows([Sample(image)], CONFIG.size, CONFIG.stride)[:, 1:]
    some, half = corners[:: len(corners) // WINDOWS][:WINDOWS], CONFIG.size // 2
    pixels, whole = tensor(image)[0], tensor(padded(image, 32))
    cut = lambda row, column, size: pixels[:, row : row + size, column : column + size]
    quarters = [(row + i, column + j) for row, column in some for i in (0, half) for j in (0, half)]
    batches = [
        *torch.stack([cut(*corner, CONFIG.size) for corner in some]).split(BATCH),
        *torch.stack([cut(*corner, half) for corner in quarters]).split(4 * BATCH),
    ]

    @torch.inference_mode()
    def forward(images: Sequence[torch.Tensor]):
        for batch in images:
            net(batch)

    best = fastest(
        {
            "dense": lambda: describe(net, image, corners, CONFIG.size, "dense"),
            "pass over the image": lambda: forward([whole]),
            "exact": lambda: describe(net, image, some, CONFIG.size, "exact"),
            "pass over the windows": lambda: forward(batches),
        },
        ROUNDS,
        time.process_time,
    )
    best = {name: milliseconds / 1000 for name, milliseconds in best.items()}
    return {
        "dense, s per image": best["dense"],
        "dense, × the network's pass over the image": best["dense"] / best["pass over the image"],
        f"exact, s per image of {len(corners)} windows": best["exact"] * len(corners) / WINDOWS,
        "exact, × its pass over the windows": best["exact"] / best["pass over the windows"],
    }


def agreement(samples: Sequence[Sample], config: Selection) -> dict[str, float]:
    """How the distances between windows, and between their first quarters, go together, and common picks."""
    wholes, quarters, picks = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        runner = StageRunner(folder=folder, progress=False)
        for kind in ("exact", "dense"):
            own = Selection(**{**vars(config), "features": kind})
            picks.append(places(pick(runner, own, samples)))
            found = Features.open(runner, vectors(runner, own, samples), len(samples))
            wholes.append(pdist(found.whole()))
            quarters.append(pdist(found.parts()[:, 0]))
    return {
        f"{config.size} px, correlation of distances": np.corrcoef(*wholes)[0, 1],
        f"{config.size} px, the same of sub-windows": np.corrcoef(*quarters)[0, 1],
        f"{config.size} px, the same picks, of {config.clusters}": len(picks[0] & picks[1]),
    }


def places(picks: Picks) -> set[tuple]:
    """Image, row and column of each pick."""
    return set(picks.picked[["image", "row", "column"]].itertuples(index=False, name=None))


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it returns."""
    start = time.perf_counter()
    made = call()
    return time.perf_counter() - start, made


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
