"""How fast `evaluate` is: all keys of one 1000×1000 image, on one core.

Beside it, on the same two maps and in the same minute, one `np.bincount` over the pair of maps (what
any method that looks at each pixel once must pay) and, where stardist is installed (the `bench`
extra), its `matching`, which computes the panoptic family alone.

    python benchmarks/metrics.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from nucbook.metrics import evaluate
from nucbook.nuclei import Nuclei

REAL = "MoNuSeg/MoNuSegTrainingData/Labels/TCGA-18-5592-01Z-00-DX1.png"  # 480 nuclei
ROUNDS = 40


def main() -> dict[str, float]:
    """Print the table, return milliseconds and ratios by name."""
    truth, origin = real_map() or (synthetic_map(), "a synthetic map")
    prediction = perturbed(truth)
    index = truth.astype(np.int64).ravel() * (int(prediction.max()) + 1) + prediction.ravel()
    nuclei = Nuclei.from_labels(truth), Nuclei.from_labels(prediction)
    contenders: dict[str, Callable] = {
        "evaluate, label maps": lambda: evaluate(truth, prediction),
        "np.bincount of the pair": lambda: np.bincount(index),
        "evaluate, Nuclei": lambda: evaluate(*nuclei),
    }
    try:
        from stardist.matching import matching
    except ImportError:
        print("stardist is not installed: that row is left out. `pip install stardist` brings it.")
    else:
        contenders["stardist.matching.matching"] = lambda: matching(truth, prediction, thresh=0.5)
    medians = typical(contenders)

    rows, columns = truth.shape
    counts = " against ".join(str(len(side)) for side in nuclei)
    print(f"{origin}, {rows}×{columns}, {counts} nuclei; median processor time of {ROUNDS} calls")
    ours = medians["evaluate, label maps"]
    result = {}
    for name, milliseconds in medians.items():
        print(f"| {name:<28} | {milliseconds:8.2f} ms | evaluate takes {ours / milliseconds:5.2f} × that |")
        result[name] = milliseconds
        result[f"ratio to {name}"] = ours / milliseconds
    return result


def typical(contenders: dict[str, Callable]) -> dict[str, float]:
    """Median processor time of each, milliseconds: waiting for a core that others use is not counted.

    They take turns, so that what does slow the core (its clock, the caches) slows all alike.
    """
    times = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            begin = time.process_time()
            call()
            times[name].append(1000 * (time.process_time() - begin))
    return {name: float(np.median(measured)) for name, measured in times.items()}


def real_map() -> tuple[np.ndarray, str] | None:
    """A label map of the MoNuSeg training set, where `NUCBOOK_DATA` has it."""
    path = Path(os.environ.get("NUCBOOK_DATA", ".")) / REAL
    if not path.exists():
        return None
    return np.array(Image.open(path)).astype(np.int32), f"MoNuSeg {path.stem}"


def synthetic_map(count: int = 450, size: int = 1000) -> np.ndarray:
    """Ellipses of nuclear size on a jittered grid, some touching."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(count**0.5))
    labels = np.zeros((size, size), np.int32)
    for i in range(count):
        centre = (np.array(divmod(i, side)) + 0.5 + rng.uniform(-0.2, 0.2, 2)) * size / side
        axes = rng.uniform(8, 18, 2)
        cv2.ellipse(labels, (tuple(centre[::-1]), tuple(2 * axes), rng.uniform(0, 180)), i + 1, -1)
    return labels


def perturbed(truth: np.ndarray) -> np.ndarray:
    """A middling prediction: shifted by (2, 3) pixels, some nuclei missed, some merged with another."""
    ids = np.arange(int(truth.max()) + 1)
    ids[1::9] = np.minimum(ids[1::9] + 1, ids[-1])
    ids[::10] = 0
    return ids[np.roll(truth, (2, 3), axis=(0, 1))].astype(np.int32)


if __name__ == "__main__":
    main()
