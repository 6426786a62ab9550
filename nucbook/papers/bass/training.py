"""BASS: a teacher, its pseudo labels, and a student that learns boundaries (Zhang et al. 2024, Sec. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucbook.data.augment import Colour
from nucbook.data.batch import Batch
from nucbook.data.patches import patches
from nucbook.instances import boxes
from nucbook.instances.boxes import Detections
from nucbook.method import LearnsFrom, Method, Trained
from nucbook.networks.encoder import weights_identity
from nucbook.networks.maskrcnn import GRID, MASK
from nucbook.nuclei import Nuclei
from nucbook.papers.baselines import maskrcnn
from nucbook.papers.baselines.maskrcnn import detection_losses, masks_of, truth_of
from nucbook.papers.baselines.maskrcnn_losses import mask_loss
from nucbook.papers.bass.config import Config
from nucbook.papers.bass.jitter import jittered
from nucbook.papers.bass.losses import Bands, bands, boundary_weights, cross_roi_contrast
from nucbook.papers.bass.network import Student
from nucbook.papers.bass.thresholds import VALUES, BoxThreshold, box_threshold, by_tile, number_of_tiles
from nucbook.papers.bass.views import averaged
from nucbook.sample import Sample
from nucbook.segmenter import AT_ONCE, Segmenter
from nucbook.split import Parts
from nucbook.training.crops import crops
from nucbook.training.learn import Learned, trained
from nucbook.training.prepare import Models
from nucbook.training.stages import StageRunner, stage

LABELS = ("box_threshold", "counted", "pixel_threshold", "views", "jitter")  # fields of the pseudo labels
STUDENT = tuple(name for name in Config.__dataclass_fields__ if name not in (*LABELS, "read"))
LOWEST = float(VALUES[0])  # score of a box that the teacher's detections are kept from


def build(config: Config) -> Student:
    """The student of a config, random weights."""
    return Student(config.heads, config.contrast_width, config.rois, **maskrcnn.sizes(config.maskrcnn))


def networks(config: Config) -> dict[str, nn.Module]:
    """The student of a config, random weights; the teacher is not needed any more."""
    return {"maskrcnn": build(config)}


def maps(models: Mapping[str, nn.Module], image: Tensor, config: Config) -> list[Detections]:
    """What the student finds in each of the images (B, 3, H, W) in [0, 1]."""
    found = models["maskrcnn"](image, score=config.maskrcnn.score, head=config.read)
    return maskrcnn.detections(found, image)


def decode(found: Detections, config: Config) -> Nuclei:
    """The nuclei of one image."""
    return maskrcnn.decode(found, config.maskrcnn)


# -- pseudo labels ------------------------------------------------------------------------------


@stage("maskrcnn", "views")
def detect(
    runner: StageRunner, config: Config, samples: Sequence[Sample], weights: Mapping[str, Tensor]
) -> list[dict[str, np.ndarray]]:
    """What the teacher finds in each sample, at every score that may become the threshold.

    Probabilities of masks are kept in 255 steps.
    """
    everything = replace(config.maskrcnn, score=LOWEST)
    find = Segmenter.of(maskrcnn.METHOD, everything, {"maskrcnn": weights}).maps
    kept = []
    for sample in samples:
        found = find(sample.image) if config.views == "one" else averaged(find, sample.image)
        masks = (found.masks * 255).round().astype(np.uint8)
        kept.append({"boxes": found.boxes, "scores": found.scores, "masks": masks})
    return kept


def restored(kept: Mapping[str, np.ndarray], sample: Sample) -> Detections:
    """The detections of a sample from what `detect` keeps."""
    return Detections(sample.shape, kept["boxes"], kept["scores"], kept["masks"].astype(np.float32) / 255)


def thresholds(found: Sequence[Detections], labelled: Sequence[Sample]) -> BoxThreshold:
    """The box thresholds that a teacher's detections and the labelled samples give, tile by tile."""
    scores, counts = [], []
    for own in found:
        x, y, x_end, y_end = own.boxes.T
        tile = by_tile(own.shape, np.stack([y + y_end, x + x_end], 1) / 2)
        scores += [own.scores[tile == i] for i in range(number_of_tiles(own.shape))]
    for sample in labelled:
        corners = sample.truth.boxes
        tile = by_tile(sample.shape, (corners[:, :2] + corners[:, 2:]) / 2)
        counts += np.bincount(tile, minlength=number_of_tiles(sample.shape)).tolist()
    return box_threshold(scores, counts)


def pseudo_labels(
    found: Sequence[Detections], samples: Sequence[Sample], box: float, pixel: float
) -> list[Sample]:
    """The samples with the detections that score at least `box` as their nuclei, from `pixel` probability."""
    labels = [boxes.decode(own[own.scores >= box], pixel).to_labels() for own in found]
    return [
        replace(sample, instances=own, nuclei=None, points=None, class_of={})
        for sample, own in zip(samples, labels)
    ]


# -- the student --------------------------------------------------------------------------------


def step(models: Models, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One step of the student: Eq. 2, and the cross-entropy of the fused masks."""
    predicted = models.maskrcnn(batch.image, truth_of(batch))
    made, regions = predicted.masks, predicted.regions
    inside = masks_of(batch, regions, MASK)
    losses = detection_losses(predicted)
    if "nmh" in made:
        losses["nmh"] = mask_loss(made["nmh"], inside)
    if "lrd" in made:
        low = masks_of(batch, regions, GRID)
        weight = boundary_weights(low, config.boundary_width, config.boundary_weight)
        losses["lrd"] = mask_loss(made["lrd"], low, weight)
    seen = inside[made["rows"]]
    if len(config.heads) > 1 or "crc" in config.heads:
        losses["mask"] = mask_loss(made["mask"], seen)
    if "crc" in made and config.contrast:
        count = len(seen)
        drawn = torch.rand(seen.shape, device=seen.device) < config.sampled
        sets = Bands(*(mask & drawn for mask in bands(seen, config.distance)))
        partner = torch.randperm(count, device=seen.device)
        contrast = cross_roi_contrast(
            made["embeddings"], sets, partner, config.temperature, config.terms, config.query
        )
        losses["contrast"] = config.contrast * contrast.loss
        losses["watched/defined terms"] = contrast.defined
    return losses


@stage(*STUDENT)
def student(
    runner: StageRunner,
    config: Config,
    labelled: Sequence[Sample],
    pseudo: Sequence[Sample],
    start: str | None,
) -> Learned:
    """The student, on as many crops of labelled samples as of those with pseudo labels."""
    trunk = replace(config.maskrcnn, milestones=config.student_milestones)
    half = max(trunk.batch // 2, 1)
    lots = [crops(lot, trunk.crop, half, colour=Colour()) for lot in (labelled, pseudo)]

    def batches(generator: torch.Generator) -> Batch:
        return Batch.concatenate([draw(generator) for draw in lots])

    return maskrcnn.learnt(
        runner,
        trunk,
        lambda: build(config),
        partial(step, config=config),
        batches,
        config.student_steps,
        start,
    )


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train the teacher on labelled samples, and the student on those and on its pseudo labels.

    The box threshold is that at which counts of detections come nearest to those of labelled nuclei. With few
    labelled images their counts say little of the others; `config.counted` compares them with what the
    teacher finds in the labelled images themselves, of which it knows the truth.

    Where no detection reaches the box threshold in any sample, the student learns from the labelled ones
    alone. Raises OutOfTime, and ValueError for a config that reads a head which the student lacks.
    """
    if config.read not in ("mask", *config.heads):
        heads = ", ".join(config.heads)
        raise ValueError(f"read = {config.read!r}, but the heads are {heads}; read one of them, or 'mask'.")
    start = weights_identity(config.maskrcnn.encoder, config.maskrcnn.init)
    teacher = runner.do(maskrcnn.supervised, config.maskrcnn, parts.labelled, start)

    def found_in(samples: Sequence[Sample]) -> tuple[list[Sample], list[Detections]]:
        """The samples, cut to what a network sees at once, and what the teacher finds in each cut."""
        cuts = [cut for sample in samples for cut in patches(sample, AT_ONCE)]
        kept = runner.do(detect, config, cuts, teacher["weights"])
        return cuts, [restored(own, cut) for own, cut in zip(kept, cuts)]

    unlabelled, found = found_in(parts.unlabelled)
    box = config.box_threshold
    if box is None:
        counted = found if config.counted == "unlabelled" else found_in(parts.labelled)[1]
        box = thresholds(counted, parts.labelled).nearest
    pseudo = pseudo_labels(found, unlabelled, box, config.pixel_threshold)
    if config.jitter:
        draw = np.random.default_rng(runner.seed)
        pseudo = [replace(own, instances=jittered(own.label_map, config.jitter, draw)) for own in pseudo]
    if not any(sample.label_map.any() for sample in pseudo):
        pseudo = list(parts.labelled)
    made = runner.do(student, config, parts.labelled, pseudo, start)
    return trained({"maskrcnn": made})


def learns_from(config: Any) -> LearnsFrom:
    """Some samples have masks."""
    return "some masks"


METHOD = Method("bass", Config, networks, maps, decode, train, learns_from)
