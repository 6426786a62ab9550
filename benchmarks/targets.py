"""What targets cost: distances, boundaries and Voronoi labels of 16 label maps 256² with 40 nuclei each.

Beside them the loop that the field runs, one nucleus after the other over the whole map, and Voronoi
labels of one map after the other, which go through SciPy's distance transform.

    python benchmarks/targets.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from scipy import ndimage

from nucbook import targets

MAPS, SIDE, NUCLEI = 16, 256, 40
ROUNDS = 10


def main() -> dict[str, float]:
    """Print the table, return milliseconds a map and ratios by name."""
    labels = torch.from_numpy(np.stack([label_map(seed) for seed in range(MAPS)]))
    points = [targets.points(one) for one in labels]
    best = fastest(
        {
            "distance_maps": lambda: targets.distance_maps(labels),
            "normalised_distance_maps": lambda: targets.normalised_distance_maps(labels),
            "boundaries": lambda: targets.boundaries(labels),
            "loop, OpenCV": lambda: loop(labels.numpy(), lambda mask: cv2.distanceTransform(mask, 2, 0)),
            "loop, SciPy": lambda: loop(labels.numpy()[:2], ndimage.distance_transform_edt),
            "Voronoi, one by one": lambda: [targets.voronoi([some], (SIDE, SIDE)) for some in points],
            "Voronoi, the batch": lambda: targets.voronoi(points, (SIDE, SIDE)),
        }
    )
    best = {name: milliseconds / (2 if "SciPy" in name else MAPS) for name, milliseconds in best.items()}
    counts = [len(p) for p in points]
    print(
        f"{MAPS} maps {SIDE}², {min(counts)} to {max(counts)} nuclei, {torch.get_num_threads()} threads; "
        f"best of {ROUNDS} rounds, a map"
    )
    against = {
        "loop, OpenCV": "distance_maps",
        "loop, SciPy": "distance_maps",
        "Voronoi, one by one": "Voronoi, the batch",
    }
    for name, milliseconds in best.items():
        other = against.get(name)
        ratio = f"{milliseconds / best[other]:5.1f} × {other}" if other else ""
        print(f"| {name:<26} | {milliseconds:7.2f} ms | {ratio}")
    whole = best["distance_maps"] + best["boundaries"] + best["Voronoi, the batch"]
    print(f"distances, boundaries and Voronoi labels together: {whole:.2f} ms a map")
    return {**best, "together": whole}


def loop(maps: np.ndarray, transform: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Distance maps (B, H, W) as they are usually made: a transform of the whole map for every nucleus."""
    out = np.zeros(maps.shape, np.float32)
    for labels, result in zip(maps, out):
        for i in np.unique(labels)[1:]:
            result += transform((labels == i).astype(np.uint8))
    return out


def label_map(seed: int) -> np.ndarray:
    """int32 (SIDE, SIDE): ellipses of nuclear size, some touching, some cut by the border."""
    generator, labels = np.random.default_rng(seed), np.zeros((SIDE, SIDE), np.int32)
    for i in range(1, NUCLEI + 1):
        ellipse = np.zeros(labels.shape, np.uint8)
        centre, axes = generator.integers(0, SIDE, 2), generator.integers(7, 14, 2)
        cv2.ellipse(ellipse, centre.tolist(), axes.tolist(), generator.uniform(0, 180), 0, 360, 1, -1)
        labels[(ellipse > 0) & (labels == 0)] = i
    return labels


def fastest(
    contenders: dict[str, Callable], rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Best time of each, milliseconds; rounds take turns so that a busy machine slows all alike.

    clock : seconds; `time.process_time` leaves out what other processes take.
    """
    best = dict.fromkeys(contenders, np.inf)
    for _ in range(rounds):
        for name, call in contenders.items():
            begin = clock()
            call()
            best[name] = min(best[name], 1000 * (clock() - begin))
    return best


if __name__ == "__main__":
    main()
