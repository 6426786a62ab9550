"""U-Net that has seen simulated tissue only: how real is the simulator?

It needs no annotator and no slide. What it scores on real slides measures the simulator; its encoder
is what `init: tissue` starts from, where ImageNet's weights cannot be had.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from joblib import Parallel, delayed

from nucbook.data.tissue import ORGANS, simulate
from nucbook.papers.baselines import unet
from nucbook.rows import fingerprint
from nucbook.sample import Sample
from nucbook.segmenter import Segmenter
from nucbook.training.fit import History

FIRST_SEED = 1_000_000  # far from the seeds of data.load("tissue"), whose test tiles stay unseen


@dataclass(frozen=True)
class Config(unet.Config):
    """A U-Net and the tiles it learns from."""

    init: str = "scratch"
    tiles: int = 4000  # simulated tiles, each of a slide of its own, organs in turn
    tile: int = 512  # px, their side

    @classmethod
    def short(cls, dataset: str) -> Config:
        """Two CPU cores, a quarter of an hour."""
        return replace(_as_tissue(unet.Config.short(dataset)), tiles=600, tile=320)

    @classmethod
    def quick(cls) -> Config:
        """Two CPU cores, half a minute."""
        return replace(_as_tissue(unet.Config.quick()), tiles=48, tile=192)


def _as_tissue(config: unet.Config) -> Config:
    return Config(**vars(config))


def tiles(count: int, size: int, seed: int = 0) -> list[Sample]:
    """`count` simulated tiles of `size` px, organs in turn, each its own patient; the same for a seed."""
    organs = list(ORGANS)
    first = FIRST_SEED * (seed + 1)
    make = delayed(lambda i: simulate(organs[i % len(organs)], size, first + i))
    return Parallel(n_jobs=-1)(make(i) for i in range(count))


def simulator() -> str:
    """What tells one version of the simulator from another: a fingerprint of a tile of each organ."""
    return fingerprint([simulate(organ, 96).image for organ in ORGANS])


def train(config: Config, *, seed: int = 0, **options: Any) -> tuple[Segmenter, History]:
    """A U-Net trained on simulated tiles; arguments and results as `unet.train`."""
    return unet.train(tiles(config.tiles, config.tile, seed), config, seed=seed, **options)
