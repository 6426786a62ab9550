"""Supervised U-Net: the baseline that has every label.

It predicts, for each pixel, whether it is nucleus and how deep in its nucleus it lies; touching nuclei
meet where the depth is low, so a watershed on it separates them. No paper of the book proposes it: it is
what their methods, with fewer labels, are measured against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.data.augment import Colour
from nucbook.data.patches import Batch
from nucbook.instances.watershed import watershed_from_distance
from nucbook.method import Method, Trained
from nucbook.networks import UNet
from nucbook.networks.encoder import weights_identity
from nucbook.papers.baselines.config import UNetConfig as Config
from nucbook.sample import Sample
from nucbook.split import Parts
from nucbook.targets import normalised_distance_maps
from nucbook.training.crops import crops
from nucbook.training.learn import Learned, learn, trained
from nucbook.training.prepare import Models
from nucbook.training.schedules import Cosine
from nucbook.training.stages import StageRunner, stage

TRAINING = (  # what only decoding reads needs no new training
    "encoder",
    "levels",
    "crop",
    "batch",
    "steps",
    "learning_rate",
    "warm_up",
    "weight_decay",
    "init",
    "precision",
    "dice_weight",
    "distance_weight",
)


def foreground_loss(logit: Tensor, foreground: Tensor, valid: Tensor, dice_weight: float) -> Tensor:
    """Cross-entropy plus soft Dice, over the pixels that count.

    logit, foreground, valid : (B, H, W); foreground 0 or 1, valid bool.
    Returns a scalar >= 0; 0 (with gradient) where no pixel is valid.
    """
    count = valid.sum().clamp(min=1)
    entropy = (F.binary_cross_entropy_with_logits(logit, foreground, reduction="none") * valid).sum() / count
    probability, truth = logit.sigmoid() * valid, foreground * valid
    both = (probability * truth).sum((1, 2))
    dice = (2 * both + 1) / (
        probability.sum((1, 2)) + truth.sum((1, 2)) + 1
    )  # + 1 px: defined without nuclei
    return entropy + dice_weight * (1 - dice).mean()


def distance_loss(prediction: Tensor, distance: Tensor, valid: Tensor) -> Tensor:
    """Mean squared error of the normalised distance, background (0) included.

    prediction, distance, valid : (B, H, W); distance in [0, 1], valid bool.
    Returns a scalar >= 0; 0 (with gradient) where no pixel is valid.
    """
    return ((prediction - distance) ** 2 * valid).sum() / valid.sum().clamp(min=1)


def step(models: Models, batch: Batch, config: Config) -> dict[str, Tensor]:
    """One training step: what is lost on a batch of crops with label maps."""
    logit, distance = models.unet(batch.image).unbind(1)  # (B, H, W) each
    foreground = (batch.instances > 0).to(logit)
    target = batch.target(normalised_distance_maps)
    known = batch.valid & batch.annotated
    return {
        "foreground": foreground_loss(logit, foreground, known, config.dice_weight),
        "distance": config.distance_weight * distance_loss(distance, target, known & batch.whole),
    }


def networks(config: Config) -> dict[str, nn.Module]:
    """The U-Net of a config, random weights; two maps: logit of the foreground, normalised distance."""
    return {"unet": UNet(2, config.encoder, config.levels)}


def maps(models: Mapping[str, nn.Module], image: Tensor, config: Config) -> Tensor:
    """Foreground probability and normalised distance (B, 2, H, W) of images (B, 3, H, W) in [0, 1]."""
    logit, distance = models["unet"](image).unbind(1)
    return torch.stack([logit.sigmoid(), distance], 1)


def decode(maps: np.ndarray, config: Config) -> np.ndarray:
    """Instances, int32 (H, W), from the maps (2, H, W) of one image."""
    return watershed_from_distance(
        *maps,
        threshold=config.threshold,
        valley=config.valley,
        smooth=config.smooth,
        min_area=config.min_area,
    )


@stage(*TRAINING)
def supervised(runner: StageRunner, config: Config, samples: Sequence[Sample], start: str | None) -> Learned:
    """A U-Net on labelled samples; `start` names the weights it starts from."""
    return learn(
        runner,
        "unet",
        lambda: UNet(2, config.encoder, config.levels),
        partial(step, config=config),
        crops(samples, config.crop, config.batch, colour=Colour()),
        init=config.init,
        steps=config.steps,
        learning_rate=config.learning_rate,
        optimiser=partial(torch.optim.AdamW, weight_decay=config.weight_decay),
        schedule=Cosine(config.warm_up),
        clip=5.0,
        mixed_precision=config.precision,
    )


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train on the labelled samples. Raises OutOfTime."""
    start = weights_identity(config.encoder, config.init)
    return trained({"unet": runner.do(supervised, config, parts.labelled, start)})


METHOD = Method("unet", Config, networks, maps, decode, train)
