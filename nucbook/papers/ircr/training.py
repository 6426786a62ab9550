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
from nucbook.data.catalog import CATALOG
from nucbook.instances.hovernet import decode_batch
from nucbook.method import Trained
from nucbook.papers.baselines import hovernet, tissue
from nucbook.papers.baselines.semi_supervised import (
    Views,
    consistency_loss,
    on_hovernet,
    start,
    student_maps,
    teacher_maps,
    views_of,
)
from nucbook.papers.ircr.config import Config
from nucbook.papers.ircr.losses import miac_loss, piac_loss, weight_map
from nucbook.papers.ircr.matching import match_batch
from nucbook.papers.ircr.priors import Priors
from nucbook.sample import InvalidSample, Sample
from nucbook.split import Parts
from nucbook.training.ema import Average
from nucbook.training.learn import Learned, trained
from nucbook.training.prepare import Models
from nucbook.training.stages import StageRunner, stage


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
    Raises ValueError for a weight of PIAC without priors.
    """
    if config.piac and priors is None:
        raise ValueError("PIAC scores nuclei by priors, and there are none; fit them, or take piac=0.")
    teacher = teacher_maps(models, views)
    valid = views.unlabelled.valid
    # To the host before the student's work is queued.
    maps, pixels, inside = teacher.cpu(), views.unlabelled.image.cpu().numpy(), valid.cpu().numpy()
    scored_by = priors if config.piac else None

    def read() -> tuple[np.ndarray, np.ndarray | None]:
        labels = nuclei(maps, inside)
        trusted = None if scored_by is None else weights(labels, pixels, inside, scored_by, config, mpp)
        return labels, trusted

    with ThreadPoolExecutor(1, thread_name_prefix="teacher") as beside:
        ahead = beside.submit(read) if config.piac or config.miac else None
        losses, student = student_maps(models, views)
        if config.consistency:
            losses["consistency"] = config.consistency * consistency_loss(student, teacher, valid)
        if ahead is None:
            return losses
        labels, trusted = ahead.result()
    if trusted is not None:
        factors = torch.from_numpy(trusted).to(student.device, non_blocking=True)
        losses["piac"] = config.piac * piac_loss(student, teacher, factors)
    if config.miac:
        pairs = match_batch(labels, nuclei(student, inside), config.radius).to(student.device)
        known = valid[:, None]  # boundaries reach beyond
        losses["miac"] = config.miac * miac_loss(
            student * known, teacher * known, pairs, config.beta, config.union
        )
    return losses


@stage(*[name for name in Config.__dataclass_fields__ if name != "external"])
def instance_aware(
    runner: StageRunner,
    config: Config,
    labelled: Sequence[Sample],
    unlabelled: Sequence[Sample],
    start: str | None,
    priors: dict[str, Any] | None,
    mpp: float | None,
) -> Learned:
    """The student; `start` names the weights it starts from, `priors` are as `asdict` makes them."""
    taught = partial(step, config=config, priors=Priors(**priors) if priors else None)
    if mpp is not None:  # areas are measured for PIAC alone
        taught = partial(taught, mpp=mpp)
    batches, patches = views_of(config, labelled, unlabelled), len(labelled) + len(unlabelled)
    teacher = Average("hovernet", config.alpha)
    return hovernet.learnt(runner, config.hovernet, taught, batches, patches, teacher)


@stage("external")
def densities(
    runner: StageRunner, config: Config, target: str | None, patients: Sequence[str], simulator: str | None
) -> dict[str, Any]:
    """`fitted`, as plain data; `simulator` names the simulator where tissue is among the sources."""
    return asdict(fitted(config, target, patients))


def fitted(config: Config, target: str | None, patients: Collection[str] = ()) -> Priors:
    """Priors from all annotated images of `config.external`; simulated ones from the validation part.

    target, patients : as in `Priors.fit`, which refuses sets that share images with the target.
    """
    parts = {name: "validation" if name in SIMULATED else "all" for name in config.external}
    samples = (sample for name, part in parts.items() for sample in data.load(name, part))
    return Priors.fit(samples, target, patients)


def resolution(samples: Sequence[Sample]) -> float:
    """Micrometres per pixel of the samples, their median.

    Scanners of one magnification differ by a few per cent, less than crops are zoomed by. Raises
    InvalidSample where it is unknown, or the largest is more than a tenth above the smallest.
    """
    known = [sample.mpp for sample in samples if sample.mpp is not None]
    if len(known) < len(samples) or max(known) > 1.1 * min(known):
        found = ", ".join(sorted({str(sample.mpp) for sample in samples}))
        raise InvalidSample(
            f"the samples' micrometres per pixel are {found}, and areas are scored in µm²: scale all images "
            "to one resolution and name it (`--mpp`), or train with piac=0."
        )
    return float(np.median(known))


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train on patches with and without masks; the student of the last step is kept.

    Priors are fitted on data sets that share no image with the one that the patches are from.
    Raises OutOfTime, InvalidSample where the resolution of the patches is unknown or differs, and what
    `Priors.fit` raises.
    """
    everything = [*parts.labelled, *parts.unlabelled]
    priors, mpp = None, None
    if config.piac:
        mpp = resolution(everything)
        sources = {*CATALOG, *SIMULATED} & {s.meta.get("dataset") for s in everything}
        target = min(sources, default=None)  # None for images of one's own
        patients = sorted({s.meta["patient"] for s in everything if s.meta.get("patient")})
        simulator = tissue.simulator() if "tissue" in config.external else None
        priors = runner.do(densities, config, target, patients, simulator)
    made = runner.do(instance_aware, config, parts.labelled, parts.unlabelled, start(config), priors, mpp)
    return trained({"hovernet": made})


METHOD = on_hovernet("ircr", Config, train, reads=lambda config: config.external if config.piac else ())
