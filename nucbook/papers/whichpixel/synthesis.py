"""Labelled patches in, many labelled images out: masks, a GAN for each patch, its fakes (Sec. III-B)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed

from nucbook.papers.whichpixel.gan import colours_of, sample
from nucbook.papers.whichpixel.gan_config import GAN, Masks
from nucbook.papers.whichpixel.gan_training import csingan, restored
from nucbook.papers.whichpixel.masks import synthetic_masks
from nucbook.sample import Sample
from nucbook.training.prepare import device
from nucbook.training.stages import StageRunner

Patch = tuple[np.ndarray, np.ndarray, Sequence[np.ndarray]]  # image, label map, synthetic masks


def synthetic_samples(
    runner: StageRunner, masks: Masks, gan: GAN, patches: Sequence[Sample], processes: int = 2
) -> list[Sample]:
    """`masks.count` fakes of each labelled patch, with the masks that they were painted for.

    Each patch has a GAN of its own, which is kept by the patch: runs that choose the same window share it.
    A generator that does not see the mask paints over it in the patch's two colours.
    A patch without nuclei gives no fakes, and a warning says so: random windows may hold none.
    processes : see `csingans`.

    Raises ValueError where no patch holds a nucleus, and as `synthetic_masks` and `csingan`;
    Diverged, OutOfTime.
    """
    empty = [patch.name for patch in patches if not patch.label_map.any()]
    if len(empty) == len(patches):
        raise ValueError("no patch holds a nucleus: there is nothing to make images from; choose others.")
    if empty:
        warnings.warn(f"no images are made from {', '.join(empty)}: no nucleus there.", stacklevel=2)
    patches = [patch for patch in patches if patch.label_map.any()]
    lot: list[Patch] = [
        (patch.image, patch.label_map, synthetic_masks(patch.label_map, masks, runner.seed))
        for patch in patches
    ]
    fakes = []
    for patch, own, made in zip(patches, lot, csingans(runner, gan, lot, processes)):
        image, labels, drawn = own
        colours = None if gan.conditional else colours_of(image, labels)
        painted = sample(restored(gan, made, labels.shape), drawn, gan.scales, runner.seed, colours)
        fakes += [
            Sample(
                fake,
                instances=mask,
                mpp=patch.mpp,
                name=f"{patch.name}-fake-{i}",
                meta={**patch.meta, "synthetic": True},
            )
            for i, (fake, mask) in enumerate(zip(painted, drawn))
        ]
    return fakes


def csingans(
    runner: StageRunner, config: GAN, patches: Sequence[Patch], processes: int = 2
) -> list[dict[str, Any]]:
    """What `csingan` keeps of each patch.

    processes : that train at once on a CPU, one thread each; on a GPU they are trained one after the other.
    """
    if processes > 1 and len(patches) > 1 and device().type == "cpu":
        quiet = replace(runner, progress=False, used=[])
        Parallel(n_jobs=processes)(delayed(_alone)(quiet, config, *patch) for patch in patches)
    return [runner.do(csingan, config, *patch) for patch in patches]


def _alone(runner: StageRunner, config: GAN, *patch: Any):
    """Train a GAN in a process of its own; its weights go to the cache."""
    torch.set_num_threads(1)
    runner.do(csingan, config, *patch)
