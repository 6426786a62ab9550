"""U-Net that has seen simulated tissue only: how real is the simulator?

It needs no annotator and no slide. What it scores on real slides measures the simulator; its encoder is
what `init: tissue` starts from, where ImageNet's weights cannot be had.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from joblib import Parallel, delayed
from torch import Tensor, nn

from nucbook.data.tissue import ORGANS, simulate
from nucbook.fingerprint import fingerprint
from nucbook.method import Method, Trained
from nucbook.papers.baselines import unet
from nucbook.papers.baselines.config import Tissue as Config
from nucbook.sample import Sample
from nucbook.split import Parts
from nucbook.training.learn import Learned, trained
from nucbook.training.stages import StageRunner, stage

FIRST_SEED = 1_000_000  # far from the seeds of data.load("tissue"), whose test tiles stay unseen


def tiles(count: int, size: int, seed: int = 0) -> list[Sample]:
    """`count` simulated tiles of `size` px, organs in turn, each its own patient; the same for a seed."""
    organs = list(ORGANS)
    first = FIRST_SEED * (seed + 1)
    make = delayed(lambda i: simulate(organs[i % len(organs)], size, first + i))
    return Parallel(n_jobs=-1)(make(i) for i in range(count))


def simulator() -> str:
    """What identifies a version of the simulator: a fingerprint of a tile of each organ."""
    return fingerprint([simulate(organ, 96).image for organ in ORGANS])


def networks(config: Config) -> dict[str, nn.Module]:
    """As `unet.networks`."""
    return unet.networks(config.unet)


def maps(models: Mapping[str, nn.Module], image: Tensor, config: Config) -> Tensor:
    """As `unet.maps`."""
    return unet.maps(models, image, config.unet)


def decode(maps: np.ndarray, config: Config) -> np.ndarray:
    """As `unet.decode`."""
    return unet.decode(maps, config.unet)


@stage("unet", "tiles", "tile")
def simulated(runner: StageRunner, config: Config, simulator: str) -> Learned:
    """A U-Net on simulated tiles; `simulator` names the simulator by what it draws."""
    return unet.supervised(runner, config.unet, tiles(config.tiles, config.tile, runner.seed), None)


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train on simulated tiles alone; `parts` are not looked at. Raises OutOfTime."""
    return trained({"unet": runner.do(simulated, config, simulator())})


METHOD = Method("tissue", Config, networks, maps, decode, train, learns_from=lambda config: "nothing")
