"""Supervised U-Net: the baseline that has every label.

It predicts, for each pixel, whether it is nucleus and how deep in its nucleus it lies; touching
nuclei meet where the depth is low, so a watershed on it takes them apart. No paper of the book
proposes it: it is what their methods, with fewer labels, are measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nucbook.data.augment import Colour, Geometry
from nucbook.data.patches import Batch, PatchBank
from nucbook.instances.watershed import watershed_from_distance
from nucbook.networks import UNet, initialise
from nucbook.networks.encoder import weights_identity
from nucbook.sample import Sample
from nucbook.segmenter import Method, Segmenter
from nucbook.targets import normalised_distance_maps
from nucbook.training.fit import History, fit
from nucbook.training.prepare import Models, device, share
from nucbook.training.schedules import Cosine


@dataclass(frozen=True)
class Config:
    """U-Net with watershed decoding. No paper fixes its values; Kumar's validation images did."""

    layers: int = 34  # of the ResNet encoder
    levels: int = 5  # scales of the encoder; the coarsest has stride 2**levels
    crop: int = 256  # px, side of a training crop
    batch: int = 16  # crops a step
    steps: int = 20_000  # optimiser steps
    learning_rate: float = 1e-3  # AdamW, at its highest
    warm_up: int = 200  # steps
    weight_decay: float = 1e-2  # of AdamW
    init: str = "imagenet"  # weights of the encoder: scratch, imagenet or tissue
    precision: str = "bf16"  # of the forward pass; "no" = float32
    dice_weight: float = 0.5  # beside cross-entropy, weight 1
    distance_weight: float = 4.0  # squared error of the normalised distance
    threshold: float = 0.5  # probability from which a pixel is nucleus
    depth: float = 0.1  # normalised distance; a shallower valley does not part two nuclei
    smooth: float = 1.5  # px, σ of the Gaussian over the distance before markers are taken
    min_area: int = 30  # px, smaller objects are dropped

    @classmethod
    def paper(cls, dataset: str) -> Config:
        """The full size, for a GPU; the same for every data set."""
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Config:
        """Real slides on two CPU cores, a quarter of an hour."""
        return cls(layers=18, levels=4, crop=160, batch=8, steps=2000, learning_rate=2e-3, init="scratch")

    @classmethod
    def quick(cls) -> Config:
        """Simulated tissue on two CPU cores, half a minute."""
        return cls(
            layers=18, levels=4, crop=96, batch=12, steps=240, learning_rate=2e-3, warm_up=20, init="scratch"
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
    target = normalised_distance_maps(batch.instances)
    return {
        "foreground": foreground_loss(logit, foreground, batch.valid, config.dice_weight),
        "distance": config.distance_weight * distance_loss(distance, target, batch.valid),
    }


def networks(config: Config) -> dict[str, nn.Module]:
    """The U-Net of a config, random weights; two maps: logit of the foreground, normalised distance."""
    return {"unet": UNet(2, config.layers, config.levels)}


def maps(models: Mapping[str, nn.Module], image: Tensor) -> Tensor:
    """Foreground probability and normalised distance (B, 2, H, W) of images (B, 3, H, W) in [0, 1]."""
    logit, distance = models["unet"](image).unbind(1)
    return torch.stack([logit.sigmoid(), distance], 1)


def decode(maps: np.ndarray, config: Config) -> np.ndarray:
    """Instances, int32 (H, W), from the maps (2, H, W) of one image."""
    return watershed_from_distance(
        *maps, threshold=config.threshold, depth=config.depth, smooth=config.smooth, min_area=config.min_area
    )


METHOD = Method("baselines.unet", Config, networks, maps, decode)


def learn(
    fit: Callable[..., History], config: Config, samples: Sequence[Sample], seed: int
) -> tuple[UNet, str, History]:
    """Train a U-Net with `fit`, which already knows seed, checkpoint and time limit.

    Returns the network, the `init` that came about, and what happened. ValueError without labelled samples.
    """
    unlabelled = [sample.name for sample in samples if not sample.labelled]
    if unlabelled or not samples:
        raise ValueError(
            f"a supervised U-Net needs masks, but {unlabelled[0] if samples else 'no sample'} has none."
        )
    geometry, colour = Geometry(config.crop), Colour()
    bank = PatchBank(samples, geometry.source_size, device())

    def batches(generator: torch.Generator) -> Batch:
        batch = geometry(bank.draw(share(config.batch), generator), generator)
        batch.image = colour(batch.image, generator)
        return batch

    torch.manual_seed(seed)
    models = networks(config)
    init = initialise(models["unet"].encoder, config.init)
    history = fit(
        partial(step, config=config),
        models,
        batches,
        steps=config.steps,
        learning_rate=config.learning_rate,
        optimiser=partial(torch.optim.AdamW, weight_decay=config.weight_decay),
        schedule=Cosine(config.warm_up),
        clip=5.0,
        mixed_precision=config.precision,
    )
    return models["unet"], init, history


def train(
    samples: Sequence[Sample], config: Config, *, seed: int = 0, **options: Any
) -> tuple[Segmenter, History]:
    """A U-Net trained on labelled samples.

    seed    : of the weights and of every crop.
    options : `checkpoint`, `minutes`, `progress`, … of `nucbook.training.fit`.

    Returns the segmenter and what happened in the training; where a time limit came first the
    history says `finished` False, and the same call goes on later.
    """
    start = weights_identity(config.layers, config.init)
    taught = partial(fit, seed=seed, config=(config, start), **options)
    network, init, history = learn(taught, config, samples, seed)
    return Segmenter({"unet": network}, METHOD, config, {"init": init}), history
