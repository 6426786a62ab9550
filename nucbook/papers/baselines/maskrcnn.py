"""Supervised Mask R-CNN (He et al. 2017): the baseline, and the teacher, of BASS (Zhang et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nucbook.data.augment import Colour
from nucbook.data.batch import Batch
from nucbook.data.patches import grid
from nucbook.instances import boxes
from nucbook.instances.boxes import Detections
from nucbook.method import Method, Trained
from nucbook.networks.encoder import build_encoder, weights_identity
from nucbook.networks.maskrcnn import MASK, Found, MaskRCNN, Predicted, Regions, Truth
from nucbook.nuclei import Nuclei
from nucbook.papers.baselines.config import MaskRCNNConfig as Config
from nucbook.papers.baselines.maskrcnn_losses import (
    box_loss,
    classification_loss,
    mask_loss,
    objectness_loss,
)
from nucbook.sample import Sample
from nucbook.split import Parts
from nucbook.targets import boxes as boxes_of
from nucbook.targets import region_masks
from nucbook.training.crops import crops
from nucbook.training.learn import Learned, learn, trained
from nucbook.training.prepare import Models
from nucbook.training.schedules import StepDecay
from nucbook.training.stages import StageRunner, stage

TRAINING = tuple(name for name in Config.__dataclass_fields__ if name not in ("score", "threshold"))
CLIP = 10.0  # largest norm of the gradient
SLIVER = 4  # px; a nucleus of which a crop sees less, in one direction, is neither learnt nor background


def truth_of(batch: Batch) -> Truth:
    """The boxes of the nuclei in a batch of crops, cut by the crop's border."""
    known = batch.valid & batch.annotated
    corners, ids = [], []
    for i, labels in enumerate(batch.instances):
        own, found = boxes_of(labels)
        thin = (found[:, 2:] - found[:, :2]).amin(1) < SLIVER
        known[i] &= ~torch.isin(labels, own[thin].to(labels.dtype))
        corners.append(found[~thin][:, [1, 0, 3, 2]].float())
        ids.append(own[~thin])
    return Truth(corners, ids, known)


def masks_of(batch: Batch, regions: Regions, side: int) -> Tensor:
    """The masks that regions should get, bool (R, side, side)."""
    return region_masks(batch.instances, regions.image, regions.boxes, regions.ids, side)


def detection_losses(predicted: Predicted) -> dict[str, Tensor]:
    """The four losses of boxes, L_det of Zhang et al. 2024, Eqs. 1 and 2."""
    anchors, regions = len(predicted.objectness), len(predicted.labels)
    return {
        "objectness": objectness_loss(predicted.objectness, predicted.is_nucleus),
        "anchor": box_loss(predicted.anchor_moves, predicted.anchor_targets, anchors),
        "class": classification_loss(predicted.logits, predicted.labels),
        "box": box_loss(predicted.moves, predicted.targets, regions),
    }


def step(models: Models, batch: Batch) -> dict[str, Tensor]:
    """One training step: the losses of a batch of crops with label maps."""
    predicted = models.maskrcnn(batch.image, truth_of(batch))
    target = masks_of(batch, predicted.regions, MASK)
    return detection_losses(predicted) | {"mask": mask_loss(predicted.masks["mask"], target)}


def build(config: Config) -> MaskRCNN:
    """The network of a config, random weights."""
    return MaskRCNN(**sizes(config))


def sizes(config: Config) -> dict[str, Any]:
    """What `MaskRCNN` takes, from a config."""
    return {
        "encoder": config.encoder,
        "levels": config.levels,
        "width": config.width,
        "box_width": config.box_width,
        "scale": config.scale,
        "sample": config.sample,
    }


def networks(config: Config) -> dict[str, nn.Module]:
    """The Mask R-CNN of a config, random weights."""
    return {"maskrcnn": build(config)}


def maps(models: Mapping[str, nn.Module], image: Tensor, config: Config) -> list[Detections]:
    """What scores at least `config.score` in each of the images (B, 3, H, W) in [0, 1]."""
    return detections(models["maskrcnn"](image, score=config.score), image)


def detections(found: Sequence[Found], image: Tensor) -> list[Detections]:
    """What a network found in images, as arrays."""
    height, width = image.shape[-2:]
    return [Detections((height, width), *(t.float().cpu().numpy() for t in own)) for own in found]


def decode(found: Detections, config: Config) -> Nuclei:
    """The nuclei of one image."""
    return boxes.decode(found, config.threshold)


# -- training -----------------------------------------------------------------------------------


def optimiser(config: Config) -> Callable[..., torch.optim.Optimizer]:
    """SGD with momentum, or AdamW, as the config says."""
    if config.optimiser == "adamw":
        return partial(torch.optim.AdamW, weight_decay=config.weight_decay)
    return partial(torch.optim.SGD, momentum=config.momentum, weight_decay=config.weight_decay)


def rate(config: Config) -> float:
    """The learning rate of a batch: `config.learning_rate` is that of 16 crops (Goyal et al. 2017)."""
    return config.learning_rate * (config.batch / 16 if config.optimiser == "sgd" else 1)


def steps(config: Config, samples: Sequence[Sample]) -> int:
    """Optimiser steps of a training on samples: `config.steps`, or as many as its epochs are."""
    if config.steps is not None:
        return config.steps
    patches = sum(len(list(grid(sample.shape, config.crop, config.crop // 2))) for sample in samples)
    return max(round(config.epochs * patches / config.batch), 1)


def still(config: Config, start: str | None) -> tuple[str, ...]:
    """The parts that do not learn: of an encoder that knows ImageNet its stem, first layer, and statistics.

    As detectors are tuned: with two crops a step, statistics of the batch are noise.
    """
    if config.init != "imagenet" or start is None:
        return ()
    encoder = build_encoder(config.encoder, config.levels)
    norms = [name for name, part in encoder.named_modules() if isinstance(part, nn.BatchNorm2d)]
    return tuple(f"maskrcnn.encoder.{name}" for name in dict.fromkeys(["conv1", "layer1", *norms]))


def learnt(
    runner: StageRunner,
    config: Config,
    network: Callable[[], MaskRCNN],
    step: Callable,
    batches: Callable,
    number: int,
    start: str | None,
    begin: Learned | None = None,
) -> Learned:
    """`training.learn` for a Mask R-CNN, or what is built on one, in `number` steps; `begin` as there."""
    return learn(
        runner,
        "maskrcnn",
        network,
        step,
        batches,
        init=config.init,
        begin=begin,
        steps=number,
        learning_rate=rate(config),
        optimiser=optimiser(config),
        schedule=StepDecay(tuple(config.milestones), warm_up=config.warm_up),
        clip=CLIP,
        frozen=still(config, start),
        mixed_precision=config.precision,
    )


@stage(*TRAINING)
def supervised(runner: StageRunner, config: Config, samples: Sequence[Sample], start: str | None) -> Learned:
    """Mask R-CNN on labelled samples; `start` names the weights it starts from."""
    draw = crops(samples, config.crop, config.batch, colour=Colour())
    return learnt(runner, config, lambda: build(config), step, draw, steps(config, samples), start)


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train on the labelled samples. Raises OutOfTime."""
    start = weights_identity(config.encoder, config.init)
    return trained({"maskrcnn": runner.do(supervised, config, parts.labelled, start)})


METHOD = Method("maskrcnn", Config, networks, maps, decode, train)
