"""What a simulated image costs, on one core: a 256² tile of each organ, and how time and memory grow.

Beside it the encoding and decoding of the same tile as PNG: what reading a stored set would cost.

    python benchmarks/tissue.py
"""

from __future__ import annotations

import subprocess
import sys
import time

import cv2
import numpy as np

from nucbook.data.tissue import ORGANS, simulate

SEEDS = 12
LARGE = """
import resource, sys, time, cv2
cv2.setNumThreads(1)
from nucbook.data.tissue import simulate
start, side = time.perf_counter(), int(sys.argv[1])
nuclei = len(simulate("breast", side).class_of)
print(f"{side}² {time.perf_counter() - start:.1f} s, {nuclei} nuclei,",
      f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
"""


def main() -> dict[str, float]:
    """Print the table, return milliseconds by organ."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    result = {}
    for organ in ORGANS:
        times = [seconds(lambda: simulate(organ, seed=seed)) for seed in range(SEEDS)]  # noqa: B023
        result[organ] = 1000 * float(np.median(times))
        print(f"{organ:<9} {result[organ]:6.1f} ms a tile of 256² (slowest {1000 * max(times):.1f})")
    tile = simulate().image
    round_trip = lambda: cv2.imdecode(cv2.imencode(".png", tile)[1], cv2.IMREAD_COLOR)
    stored = min(seconds(round_trip) for _ in range(20))
    print(f"{'PNG':<9} {1000 * stored:6.1f} ms to write and read one of them")
    cv2.setNumThreads(threads)
    for side in (1000, 2000, 4000):  # peak memory needs a process of its own
        command = [sys.executable, "-c", LARGE, str(side)]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        print(run.stdout.strip())
    return result


def seconds(call) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
