"""Labelled patches in, many labelled images out: masks, a GAN for each patch, its fakes (Sec. III-B)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed

from nucbook.papers.whichpixel.config import GAN, Masks
from nucbook.papers.whichpixel.gan import colours_of, sample
from nucbook.papers.whichpixel.gan_training import Diverged, csingan, restored
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
    A patch without nuclei gives no fakes, and a warning says so: random windows may hold none. So does one
    whose GAN diverges.
    processes : see `csingans`.

    Raises ValueError where no patch holds a nucleus, and as `synthetic_masks` and `csingan`; Diverged where
    each GAN does; OutOfTime.
    """
    patches, drawn = masks_of(patches, masks, runner.seed)
    lot: list[Patch] = [(patch.image, patch.label_map, own) for patch, own in zip(patches, drawn)]
    fakes = []
    for patch, own, made in zip(patches, lot, csingans(runner, gan, lot, processes)):
        if made is None:
            continue
        image, labels, wanted = own
        colours = None if gan.conditional else colours_of(image, labels)
        images = sample(restored(gan, made, labels.shape), wanted, gan.scales, runner.seed, colours)
        fakes += fakes_of(patch, images, wanted)
    return fakes


def masks_of(
    patches: Sequence[Sample], masks: Masks, seed: int
) -> tuple[list[Sample], list[list[np.ndarray]]]:
    """The patches that hold a nucleus, and the synthetic masks of each, int32 (H, W).

    A warning names the others: random windows may hold none. Raises ValueError where no patch holds one, and
    as `synthetic_masks`.
    """
    empty = [patch.name for patch in patches if not patch.label_map.any()]
    if len(empty) == len(patches):
        raise ValueError("no patch holds a nucleus: there is nothing to make images from; choose others.")
    if empty:
        warnings.warn(f"no images are made from {', '.join(empty)}: no nucleus there.", stacklevel=3)
    left = [patch for patch in patches if patch.label_map.any()]
    return left, [synthetic_masks(patch.label_map, masks, seed) for patch in left]


def fakes_of(patch: Sample, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> list[Sample]:
    """Images uint8 (H, W, 3) that were painted for synthetic masks of a patch, as samples."""
    return [
        Sample(
            image,
            instances=mask,
            mpp=patch.mpp,
            name=f"{patch.name}-fake-{i}",
            meta={**patch.meta, "synthetic": True},
        )
        for i, (image, mask) in enumerate(zip(images, masks))
    ]


def csingans(
    runner: StageRunner, config: GAN, patches: Sequence[Patch], processes: int = 2
) -> list[dict[str, Any] | None]:
    """What `csingan` keeps of each patch; None where it diverged, and a warning says so.

    processes : that train at once on a CPU, one thread each; on a GPU they are trained one after the other.

    Raises Diverged where each did.
    """
    if processes > 1 and len(patches) > 1 and device().type == "cpu":
        quiet = replace(runner, progress=False, used=[])
        Parallel(n_jobs=processes)(delayed(_alone)(quiet, config, *patch) for patch in patches)
    found: list[dict[str, Any] | None] = []
    for number, patch in enumerate(patches, 1):
        try:
            found.append(runner.do(csingan, config, *patch))
        except Diverged as reason:
            if number == len(patches) and not any(found):
                raise
            warnings.warn(f"no images are made from patch {number}: {reason}", stacklevel=2)
            found.append(None)
    return found


def _alone(runner: StageRunner, config: GAN, *patch: Any):
    """Train a GAN in a process of its own; its weights go to the cache."""
    torch.set_num_threads(1)
    with suppress(Diverged):  # which is said where the GANs are gathered
        runner.do(csingan, config, *patch)
