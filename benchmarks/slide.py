"""A slide that a network cannot take whole: time and memory of `Segmenter.segment`, block by block.

python benchmarks/slide.py
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time

import numpy as np

from nucbook.data.tissue import simulate
from nucbook.papers.baselines import unet
from nucbook.segmenter import Segmenter, train

SIDES = (1000, 2000, 4000)  # px


def main() -> dict[str, float]:
    """Print the table, return seconds and peak memory by side."""
    result, first = {}, None
    with tempfile.TemporaryDirectory() as folder:
        alone(prepare, folder)
        for side in SIDES:
            seconds, nuclei, gigabytes = alone(measure, folder, side)
            per_area = seconds / side**2
            first = first or per_area
            print(
                f"| {side:5}² | {seconds:6.1f} s | {per_area / first:5.2f} × the time per pixel of "
                f"{SIDES[0]}² | {nuclei:6} nuclei | peak {gigabytes:.2f} GB |"
            )
            result |= {f"{side} s": seconds, f"{side} GB": gigabytes, f"{side} per pixel": per_area / first}
    return result


def alone(function, *arguments):
    """The result of a call in a process of its own, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def prepare(folder: str) -> None:
    """Slides, and a network that is trained a little, so that decoding has nuclei to deal with."""
    for side in SIDES:
        np.save(f"{folder}/{side}.npy", simulate("breast", size=side, seed=0).image)
    samples = [simulate("breast", size=256, seed=seed) for seed in range(1, 5)]
    segmenter, _ = train("unet", samples, unet.Config.quick(), checkpoint=f"{folder}/stages", progress=False)
    segmenter.save(f"{folder}/model")


def measure(folder: str, side: int) -> tuple[float, int, float]:
    """Seconds, nuclei and the peak memory of the whole process, slide, network and libraries included, GB."""
    slide, segmenter = np.load(f"{folder}/{side}.npy"), Segmenter.load(f"{folder}/model")
    start = time.perf_counter()
    nuclei = sum(len(block) for block in segmenter.segment(slide))
    return time.perf_counter() - start, nuclei, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
