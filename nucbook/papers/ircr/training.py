"""IRCR-Net: a mean teacher whose student agrees nucleus by nucleus (Lin et al. 2025, Sec. 3)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nucbook import data
from nucbook.data import SIMULATED
from nucbook.instances.hovernet import decode_batch
from nucbook.papers.baselines import hovernet, tissue
from nucbook.papers.baselines.hovernet import crops
from nucbook.papers.baselines.mean_teacher import (
    Views,
    consistency_loss,
    student_maps,
    teacher_maps,
    views,
)
from nucbook.papers.ircr.config import Config
from nucbook.papers.ircr.losses import miac_loss
from nucbook.papers.ircr.matching import match_batch
from nucbook.papers.ircr.priors import Priors, piac_loss, weight_map
from nucbook.sample import InvalidSample, Sample
from nucbook.segmenter import Method, Segmenter
from nucbook.training.ema import Average
from nucbook.training.fit import History
from nucbook.training.prepare import Models
from nucbook.training.stages import Desk, stage

_BESIDE = ThreadPoolExecutor(1, thread_name_prefix="teacher")  # decodes while the student computes


def nuclei(maps: Tensor, valid: np.ndarray) -> np.ndarray:
    """The instances in F, int32 (B, H, W), by HoVer-Net's watershed; none where `valid` (B, H, W) is False.

    Maps that are not finite hold none, so that the training says at which step and in which loss.
    """
    found = np.nan_to_num(maps.detach().float().cpu().numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    return decode_batch(found[:, 0], found[:, 1:]) * valid


def weights(
    labels: np.ndarray, images: np.ndarray, valid: np.ndarray, priors: Priors, config: Config, mpp: float
) -> np.ndarray:
    """U of Eq. 6 for each image, float32 (B, H, W); 0 where `valid` is False.

    labels : the teacher's nuclei (B, H, W).
    images : float (B, 3, H, W) in [0, 1], before any colour augmentation, which would change what is
             measured of the stain.
    mpp    : micrometres per pixel of the samples. Crops are drawn larger or smaller by up to a quarter, and
             their nuclei are measured as they are drawn.
    """
    pixels = (images * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    masks = [
        weight_map(own, priors.score(own, np.ascontiguousarray(image), mpp), config.threshold, config.weight)
        for own, image in zip(labels, pixels)
    ]
    return np.stack(masks) * valid


def step(
    models: Models, views: Views, config: Config, priors: Priors | None, mpp: float = 0.25
) -> dict[str, Tensor]:
    """One training step: Eq. 14. Terms of weight 0 are not computed.

    What the teacher sees is decoded and scored in a thread while the student's maps are computed.
    """
    teacher = teacher_maps(models, views)
    valid = views.unlabelled.valid
    # To the host before the student's work is queued.
    maps, pixels, inside = (thing.cpu() for thing in (teacher, views.unlabelled.image, valid))
    pixels, inside = pixels.numpy(), inside.numpy()

    def read() -> tuple[np.ndarray, np.ndarray | None]:
        labels = nuclei(maps, inside)
        return labels, weights(labels, pixels, inside, priors, config, mpp) if config.piac else None

    ahead = _BESIDE.submit(read) if config.piac or config.miac else None
    losses, student = student_maps(models, views)
    if config.mse:
        losses["consistency"] = config.mse * consistency_loss(student, teacher, valid)
    if ahead is not None:
        labels, trusted = ahead.result()
    if config.piac:
        trusted = torch.from_numpy(trusted).to(student.device, non_blocking=True)
        losses["piac"] = config.piac * piac_loss(student, teacher, trusted)
    if config.miac:
        pairs = match_batch(labels, nuclei(student, inside), config.radius).to(student.device)
        known = (each * valid[:, None] for each in (student, teacher))  # boundaries reach beyond
        losses["miac"] = config.miac * miac_loss(*known, pairs, config.beta, config.union)
    return losses


@stage(*[name for name in Config.__dataclass_fields__ if name != "external"])
def instance_aware(desk, config, labelled, unlabelled, patches, start, priors, mpp) -> dict[str, Any]:
    """The student; `start` names the weights it starts from, `priors` are as `asdict` makes them."""
    taught = partial(step, config=config, priors=priors and Priors(**priors), mpp=mpp)
    batches = views(crops(config, labelled), crops(config, unlabelled))
    return hovernet.learn(desk, config, taught, batches, patches, Average("hovernet", config.alpha))


@stage("external")
def densities(desk, config, target, patients, simulator) -> dict[str, Any]:
    """`fitted`, as plain data; `simulator` names the simulator where tissue is among the sources."""
    return asdict(fitted(config, target, patients))


def fitted(config: Config, target: str | None, patients: Collection[str] = ()) -> Priors:
    """Priors from all annotated images of `config.external`; simulated ones from the validation part.

    target, patients : as in `Priors.fit`, which refuses sets that share images with the target.
    """
    parts = {name: "validation" if name in SIMULATED else "all" for name in config.external}
    samples = (sample for name, part in parts.items() for sample in data.load(name, part))
    return Priors.fit(samples, target, patients)


METHOD = Method("ircr", Config, hovernet.networks, hovernet.maps, hovernet.decode, "some masks")


def run(
    desk: Desk,
    config: Config,
    labelled: Sequence[Sample],
    unlabelled: Sequence[Sample],
    target: str | None = None,
) -> tuple[Segmenter, History]:
    """Train on patches with and without masks; the student of the last step is kept.

    target : the data set they are from, or None for images of one's own.
    Raises OutOfTime, InvalidSample where either kind of sample or their resolution is missing, and what
    `Priors.fit` raises.
    """
    labelled, patches, start = hovernet.start(config, labelled, unlabelled)
    everything = [*labelled, *hovernet.needed(unlabelled)]
    priors, mpp = None, None
    if config.piac:
        mpp = resolution(everything)
        patients = sorted({s.meta["patient"] for s in everything if s.meta.get("patient")})
        simulator = tissue.simulator() if "tissue" in config.external else None
        priors = desk.do(densities, config, target, patients, simulator)
    made = desk.do(instance_aware, config, labelled, unlabelled, patches, start, priors, mpp)
    return hovernet.trained(made, METHOD, config)


def resolution(samples: Sequence[Sample]) -> float:
    """Micrometres per pixel of the samples, their median.

    Scanners of one magnification differ by a few per cent, less than crops are zoomed by. Raises
    InvalidSample where it is unknown, or the largest is more than a tenth above the smallest.
    """
    known = {sample.mpp for sample in samples}
    if None in known or max(known) > 1.1 * min(known):
        found = ", ".join(sorted(map(str, known)))
        raise InvalidSample(
            f"the samples' micrometres per pixel are {found}, and areas are scored in µm²: scale all images "
            "to one resolution and name it (`--mpp`), or train with piac=0."
        )
    return float(np.median([sample.mpp for sample in samples]))


train = partial(hovernet.train, run=run)
