"""What reading nuclei out of embeddings costs, beside the two networks that give foreground and embeddings.

One 1000×1000 image through SPN and IEN as they are trained at `quick`, in windows. Grouping is all that
follows: mean shift in each window, connected components, and putting the windows together. The paper needs
6 s an image on a GPU, 99 % of them for mean shift. Beside ours, scikit-learn's `MeanShift` on the busiest
window. After so short a training embeddings are diffuse, and windows are many; with the networks of `short`
on a Kumar image (81 windows of 160 px) grouping took 0.2 × the networks' time.

    python benchmarks/points.py
"""

from __future__ import annotations

import tempfile
import time

import numpy as np
import torch
from sklearn.cluster import MeanShift

from nucbook import data
from nucbook.data.tissue import simulate
from nucbook.instances.meanshift import mean_shift
from nucbook.papers.weaknucleiseg.config import Config
from nucbook.segmenter import train

ROUNDS = 3


def main() -> dict[str, float]:
    """Print the table, return seconds by name."""
    config = Config.quick()
    with tempfile.TemporaryDirectory() as folder:
        samples = data.load("tissue", "train")
        segmenter, _ = train("weaknucleiseg", samples, config, checkpoint=folder, progress=False)
    image = simulate("colon", size=1000, seed=0).image
    segmenter(image)  # warm
    networks, raw = best(segmenter.maps, image)
    grouping, nuclei = best(segmenter.method.decode, raw, config)
    print(f"1000×1000, {len(raw.windows)} windows, {nuclei.max()} nuclei; best of {ROUNDS} rounds")
    print(f"| both networks | {networks:6.2f} s | |")
    print(f"| grouping      | {grouping:6.2f} s | {grouping / networks:5.2f} × the networks |")

    foreground = raw.probability >= config.threshold
    inside = [foreground[r : r + config.crop, c : c + config.crop] for r, c in raw.windows]
    busiest = int(np.argmax([mask.sum() for mask in inside]))
    points = raw.embeddings[busiest][:, torch.from_numpy(inside[busiest])].T.contiguous()
    ours, _ = best(mean_shift, points, config.bandwidth)
    theirs, _ = best(lambda: MeanShift(bandwidth=config.bandwidth).fit(points.cpu().numpy()), rounds=1)
    print(f"| mean shift of the busiest window, {len(points)} pixels | {ours:.3f} s | |")
    print(f"| the same by scikit-learn | {theirs:.1f} s | {theirs / ours:.0f} × ours |")
    return {"networks": networks, "grouping": grouping, "ours": ours, "scikit-learn": theirs}


def best(call, *arguments, rounds: int = ROUNDS):
    """Seconds of the fastest round, and the result."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        result = call(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


if __name__ == "__main__":
    main()
