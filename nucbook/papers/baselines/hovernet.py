"""Supervised HoVer-Net, as IRCR-Net is compared with it (Graham et al. 2019; Lin et al. 2025).

One map predicts what is nucleus (NP), two where in its nucleus a pixel lies (HV, those of `targets.hv_maps`,
horizontal first). Their four losses are Eqs. 8 to 12 of Lin et al.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from nucbook.data.augment import Colour
from nucbook.data.patches import Batch
from nucbook.instances import hovernet
from nucbook.method import Method, Trained
from nucbook.networks import HoVerNet
from nucbook.networks.encoder import weights_identity
from nucbook.papers.baselines.config import HoVerNetConfig as Config
from nucbook.papers.baselines.hovernet_losses import supervised_losses
from nucbook.sample import Sample
from nucbook.split import Parts
from nucbook.targets import hv_maps
from nucbook.training.crops import Draw, crops
from nucbook.training.ema import Average
from nucbook.training.learn import Learned, learn, trained
from nucbook.training.prepare import Models
from nucbook.training.schedules import StepDecay
from nucbook.training.stages import StageRunner, stage

TRAINING = tuple(Config.__dataclass_fields__)


def feature_maps(np_logits: Tensor, hv: Tensor) -> Tensor:
    """What a network predicts, as one map: probability of nucleus, horizontal and vertical map.

    np_logits : float (B, 2, H, W), nucleus last; hv : float (B, 2, H, W).
    Returns float32 (B, 3, H, W).
    """
    return torch.cat([np_logits.float().softmax(1)[:, 1:], hv.float()], 1)


def networks(config: Config) -> dict[str, nn.Module]:
    """The HoVer-Net of a config, random weights."""
    return {"hovernet": HoVerNet(config.encoder)}


def maps(models: Mapping[str, nn.Module], image: Tensor, config: Config) -> Tensor:
    """`feature_maps` (B, 3, H, W) of images (B, 3, H, W) in [0, 1]."""
    return feature_maps(*models["hovernet"](image))


def decode(maps: np.ndarray, config: Config) -> np.ndarray:
    """Instances, int32 (H, W), from the maps (3, H, W) of one image."""
    return hovernet.decode(maps[0], maps[1:])


# -- training -----------------------------------------------------------------------------------


def labelled_losses(output: tuple[Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
    """`supervised_losses` of what the network predicts for the batch's images, from its label maps."""
    known = batch.valid & batch.annotated
    return supervised_losses(*output, batch.instances > 0, batch.target(hv_maps), known, known & batch.whole)


def step(models: Models, batch: Batch) -> dict[str, Tensor]:
    """One training step: the losses of a batch of crops with label maps."""
    return labelled_losses(models.hovernet(batch.image), batch)


def draws(config: Config, samples: Sequence[Sample], colour: Colour | None = None) -> Draw:
    """Draws crops of some patches, of the size and number that the config wants."""
    return crops(samples, config.crop, config.batch, colour=colour)


def steps(config: Config, patches: int) -> int:
    """Optimiser steps of a training on so many patches, labelled or not: the same for all methods."""
    return max(round(config.epochs * patches / config.batch), 1) if config.steps is None else config.steps


def learnt(
    runner: StageRunner,
    config: Config,
    step: Callable,
    batches: Callable,
    patches: int,
    teacher: Average | None = None,
    also: Sequence[str] = (),
    begin: Learned | None = None,
) -> Learned:
    """`training.learn` for a HoVer-Net, or one that a `teacher` follows; `also` and `begin` as there."""
    return learn(
        runner,
        "hovernet",
        lambda: HoVerNet(config.encoder),
        step,
        batches,
        init=config.init,
        averages={"teacher": teacher} if teacher else {},
        also=also,
        begin=begin,
        steps=steps(config, patches),
        learning_rate=config.learning_rate,
        optimiser=torch.optim.Adam,
        schedule=StepDecay(tuple(config.milestones)),
        mixed_precision=config.precision,
    )


@stage(*TRAINING)
def supervised(
    runner: StageRunner, config: Config, labelled: Sequence[Sample], patches: int, start: str | None
) -> Learned:
    """HoVer-Net on labelled patches; `start` names the weights it starts from."""
    return learnt(runner, config, step, draws(config, labelled, Colour()), patches)


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train on the labelled patches; the others may tell how long an epoch is. Raises OutOfTime."""
    start = weights_identity(config.encoder, config.init)
    patches = len(parts.labelled) + len(parts.unlabelled)
    if config.epochs_of == "labelled":
        own = steps(config, patches) * len(parts.labelled) / patches
        config = replace(config, steps=max(round(own), 1), epochs_of="all")
    return trained({"hovernet": runner.do(supervised, config, parts.labelled, patches, start)})


METHOD = Method("hovernet", Config, networks, maps, decode, train, patch=lambda config: config.patch)
