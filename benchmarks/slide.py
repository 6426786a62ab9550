"""A slide that a network cannot take whole: time and memory of `Segmenter.segment`, block by block.

python benchmarks/slide.py
"""

from __future__ import annotations

import multiprocessing
import resource
import time

from nucbook.data.tissue import simulate
from nucbook.papers.baselines import unet

SIDES = (1000, 2000, 4000)  # px


def main() -> dict[str, float]:
    """Print the table, return seconds and peak memory by side; each slide has a process of its own."""
    result, first = {}, None
    for side in SIDES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, nuclei, gigabytes = pool.apply(measure, (side,))
        per_area = seconds / side**2
        first = first or per_area
        print(
            f"| {side:5}² | {seconds:6.1f} s | {per_area / first:5.2f} × the time per pixel of {SIDES[0]}² "
            f"| {nuclei:6} nuclei | peak {gigabytes:.2f} GB |"
        )
        result |= {f"{side} s": seconds, f"{side} GB": gigabytes, f"{side} time per pixel": per_area / first}
    return result


def measure(side: int) -> tuple[float, int, float]:
    """Seconds, nuclei and the peak memory of the whole process, slide and network included, GB."""
    slide = simulate("breast", size=side, seed=0).image
    # The network is trained a little, so that decoding has nuclei to deal with.
    samples = [simulate("breast", size=256, seed=seed) for seed in range(1, 5)]
    segmenter, _ = unet.train(samples, unet.Config.quick(), progress=False)
    start = time.perf_counter()
    nuclei = sum(len(block) for block in segmenter.segment(slide))
    return time.perf_counter() - start, nuclei, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
