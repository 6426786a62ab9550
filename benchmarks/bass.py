"""What BASS adds to a Mask R-CNN's time: its student's step, painted detections, the box threshold.

A step of the student beside that of the same Mask R-CNN on the same crops; 1,000 detections painted into a
1000² map, on one core, beside torchvision's way, which pastes each mask into a map of the image's size; and
the box threshold over 91 values from the detections of 2,000 images.

    python benchmarks/bass.py
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from benchmarks.targets import fastest
from nucbook.data import load
from nucbook.instances.boxes import Detections, decode
from nucbook.papers.baselines import maskrcnn
from nucbook.papers.bass import training
from nucbook.papers.bass.config import Config
from nucbook.papers.bass.thresholds import box_threshold
from nucbook.training.crops import crops
from nucbook.training.prepare import accelerator_for, device, prepared

STEPS, SIDE, COUNT = 8, 1000, 1000


def main() -> dict[str, float]:
    """Print the tables, return milliseconds by name."""
    found = painted() | threshold() | steps("quick", Config.quick()) | steps("short", Config.short("monuseg"))
    return found | (steps("paper", Config.paper("monuseg")) if device().type == "cuda" else {})


def painted() -> dict[str, float]:
    """Milliseconds to paint 1,000 detections."""
    rng = np.random.default_rng(0)
    corners, sizes = rng.uniform(0, SIDE - 40, (COUNT, 2)), rng.uniform(12, 36, (COUNT, 2))
    boxes = np.hstack([corners, corners + sizes]).astype(np.float32)
    step = np.arange(28) - 13.5
    disc = np.clip(13 - np.hypot(step[:, None], step), 0, 1).astype(np.float32)
    scores = rng.random(COUNT).astype(np.float32)
    found = Detections((SIDE, SIDE), boxes, scores, np.repeat(disc[None], COUNT, 0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    masks, where = torch.from_numpy(found.masks)[:, None], torch.from_numpy(boxes)
    best = fastest(
        {
            "painted": lambda: decode(found),
            "pasted": lambda: paste_masks_in_image(masks[:100], where[:100], (SIDE, SIDE)),
        }
    )
    torch.set_num_threads(threads)
    best["pasted"] *= COUNT / 100  # of a hundred: a thousand would need 4 GB
    print(f"{COUNT} detections in {SIDE}², one core")
    print(f"| decode            | {best['painted']:6.1f} ms | aim 50 |")
    print(
        f"| torchvision's way | {best['pasted']:6.0f} ms | {best['pasted'] / best['painted']:.0f} × decode |"
    )
    return best


def threshold() -> dict[str, float]:
    """Milliseconds of the box threshold."""
    rng = np.random.default_rng(0)
    scores = [rng.random(rng.integers(10, 60)).astype(np.float32) for _ in range(2000)]
    best = fastest({"threshold": lambda: box_threshold(scores, rng.integers(10, 40, 250))})
    print(f"box threshold over 91 values, 2,000 images: {best['threshold']:.0f} ms, aim 1,000")
    return best


def steps(profile: str, config: Config) -> dict[str, float]:
    """Milliseconds a step, by kind."""
    trunk = config.maskrcnn
    draw = crops(load("tissue", "train")[:6], trunk.crop, trunk.batch)
    batch = draw(torch.Generator().manual_seed(0))
    plain, student = maskrcnn.build(trunk), training.build(config)
    kinds = {
        "Mask R-CNN": (plain, maskrcnn.step),
        "student": (student, partial(training.step, config=config)),
    }
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    with ExitStack() as stack:
        ready = {
            name: stack.enter_context(
                prepared({"maskrcnn": network.train()}, accelerator_for(trunk.precision), ())
            )
            for name, (network, _) in kinds.items()
        }
        for _ in range(STEPS + 1):
            for name, (_, step) in kinds.items():
                begun = time.perf_counter()
                torch.stack(list(step(ready[name], batch).values())).sum().backward()
                if device().type == "cuda":
                    torch.cuda.synchronize()
                taken[name].append(1000 * (time.perf_counter() - begun))
    best = {name: float(np.median(times[1:])) for name, times in taken.items()}
    threads = torch.get_num_threads()
    print(f"profile {profile}: {trunk.batch} crops of {trunk.crop}², {device().type}, {threads} threads")
    print(f"| Mask R-CNN | {best['Mask R-CNN']:6.0f} ms a step | |")
    ratio = best["student"] / best["Mask R-CNN"]
    print(f"| student    | {best['student']:6.0f} ms a step | {ratio:.2f} × that |")
    return {f"{profile} {name}": value for name, value in best.items()}


if __name__ == "__main__":
    main()
