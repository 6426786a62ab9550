"""What HoVer-Net and IRCR-Net add to a network's time: targets, decoding, scores, and the whole in a step.

HV maps of 16 label maps 256² beside the loop that the field runs, one nucleus after the other; decoding
of a 1000² image, and the five properties of its nuclei looked up in the priors, on one core; and a
step of IRCR-Net beside the same step of a mean teacher, which decodes, matches and scores nothing.

    python benchmarks/hovernet.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch

from benchmarks.targets import MAPS, SIDE, fastest, label_map
from nucbook.data.tissue import simulate
from nucbook.instances import hovernet as decoding
from nucbook.papers.baselines import hovernet, mean_teacher
from nucbook.papers.baselines.semi_supervised import teacher_maps, views_of
from nucbook.papers.ircr import training
from nucbook.papers.ircr.config import Config
from nucbook.papers.ircr.matching import match_batch
from nucbook.papers.ircr.training import fitted
from nucbook.targets import hv_maps
from nucbook.training.prepare import Models, device, precision

STEPS = 12


def main() -> dict[str, float]:
    """Print the tables, return milliseconds and shares by name."""
    priors = fitted(Config.quick(), "tissue", ["none of them"])
    found = targets() | one_image(priors) | steps("quick", Config.quick(), priors)
    found |= steps("short", Config.short("monuseg"), priors)
    return found | (steps("paper", Config.paper("monuseg"), priors) if device().type == "cuda" else {})


def targets() -> dict[str, float]:
    """Milliseconds a map."""
    labels = torch.from_numpy(np.stack([label_map(seed) for seed in range(MAPS)]))
    best = fastest({"hv_maps": lambda: hv_maps(labels), "loop": lambda: loop(labels.numpy())})
    best = {name: milliseconds / MAPS for name, milliseconds in best.items()}
    print(f"{MAPS} maps {SIDE}², {torch.get_num_threads()} threads; a map")
    print(f"| hv_maps | {best['hv_maps']:6.2f} ms | |")
    print(f"| loop    | {best['loop']:6.2f} ms | {best['loop'] / best['hv_maps']:.1f} × hv_maps |")
    return best


def loop(maps: np.ndarray) -> np.ndarray:
    """HV maps (B, 2, H, W) as they are usually made: coordinates from the centroid, nucleus by nucleus."""
    out = np.zeros((len(maps), 2, *maps.shape[1:]), np.float32)
    for labels, result in zip(maps, out):
        for i in np.unique(labels)[1:]:
            mask = labels == i
            rows, columns = np.nonzero(mask)
            for values, along in ((columns, result[0]), (rows, result[1])):
                offset = (values - np.round(values.mean())).astype(np.float32)
                for side in (offset < 0, offset > 0):
                    if side.any():
                        offset[side] /= np.abs(offset[side]).max()
                along[rows, columns] = offset
    return out


def one_image(priors) -> dict[str, float]:
    """Milliseconds on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sample = simulate("colon", size=1000, seed=0)
    labels, image = sample.label_map, sample.image
    maps = hv_maps(torch.from_numpy(labels)[None])[0].numpy()
    noise = np.random.default_rng(0).normal(0, 0.1, (3, *labels.shape)).astype(np.float32)
    probability, maps = (labels > 0) * 0.8 + 0.1 + noise[0], maps + noise[1:]
    best = fastest(
        {
            "decode": lambda: decoding.decode(probability, maps),
            "score": lambda: priors.score(labels, image),
        }
    )
    count = len(np.unique(labels)) - 1
    thousand = best["score"] * 1000 / count
    print(f"1000², {count} nuclei, one core")
    print(f"| decode | {best['decode']:6.1f} ms | aim 130, half of it better |")
    print(f"| score  | {best['score']:6.1f} ms | {thousand:.1f} ms for 1,000 nuclei, aim 30 |")
    torch.set_num_threads(threads)
    cv2.setNumThreads(-1)
    return {**best, "score of 1,000": thousand}


def steps(name: str, config: Config, priors) -> dict[str, float]:
    """Median milliseconds of a step with and without the work on nuclei, taken in turns."""
    torch.manual_seed(0)
    samples = [simulate(organ, 512, seed=1) for organ in ("breast", "colon", "liver", "kidney")]
    draw, size = views_of(config, samples, samples), config.hovernet
    networks = hovernet.networks(size) | {"teacher": hovernet.networks(size)["hovernet"]}
    placed = {key: net.to(device(), memory_format=torch.channels_last) for key, net in networks.items()}
    models = Models(placed)
    optimiser = torch.optim.Adam(models.hovernet.parameters(), 1e-3)
    batch = draw(torch.Generator().manual_seed(0))
    fast = precision(size.precision, device()) == "bf16"

    def step(compute: Callable) -> None:
        with torch.autocast(device().type, torch.bfloat16, enabled=fast):
            losses = compute(models, batch)
        sum(losses.values()).backward()
        optimiser.step()
        optimiser.zero_grad()
        if device().type == "cuda":
            torch.cuda.synchronize()

    agreeing = partial(mean_teacher.step, config=mean_teacher.Config())
    whole = partial(training.step, config=config, priors=priors)
    for _ in range(60 if name == "quick" else 20):  # until there are nuclei to be found
        step(agreeing)
    models.teacher.load_state_dict(models.hovernet.state_dict())
    spent = {"mean teacher": [], "IRCR-Net": []}
    for _ in range(STEPS):
        for key, compute in zip(spent, (agreeing, whole)):
            begin = time.perf_counter()
            step(compute)
            spent[key].append(1000 * (time.perf_counter() - begin))
    spent = {key: float(np.median(times)) for key, times in spent.items()}
    more = spent["IRCR-Net"] / spent["mean teacher"] - 1
    found = training.nuclei(teacher_maps(models, batch), batch.unlabelled.valid.cpu().numpy())
    pairs = match_batch(found, found).count.float().mean()
    print(
        f"profile {name}: {size.batch} + {size.batch} crops of {size.crop}², {device()}, "
        f"{torch.get_num_threads()} threads, {pairs:.0f} nuclei a crop"
    )
    print(f"| mean teacher | {spent['mean teacher']:7.1f} ms a step | |")
    print(f"| IRCR-Net     | {spent['IRCR-Net']:7.1f} ms a step | {100 * more:+.1f} % |")
    return {f"{name}: {key}": value for key, value in spent.items()} | {f"{name}: more": more}


if __name__ == "__main__":
    main()
