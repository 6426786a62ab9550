"""Supervised HoVer-Net, as IRCR-Net is compared with it (Graham et al. 2019; Lin et al. 2025).

Two maps tell what is nucleus (NP) and where in its nucleus a pixel lies (HV, those of `targets.hv_maps`,
horizontal first). Their four losses are Eqs. 8 to 12 of Lin et al.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucbook.data.augment import Colour, Geometry
from nucbook.data.patches import Batch, PatchBank, patches
from nucbook.instances import hovernet
from nucbook.networks import HoVerNet, initialise
from nucbook.networks.encoder import weights_identity
from nucbook.papers.baselines.hovernet_losses import supervised_losses
from nucbook.sample import InvalidSample, Sample
from nucbook.segmenter import Method, Segmenter
from nucbook.targets import hv_maps
from nucbook.training.fit import History
from nucbook.training.prepare import Models, device, share
from nucbook.training.schedules import StepDecay
from nucbook.training.stages import Desk, stage


@dataclass(frozen=True)
class Config:
    """HoVer-Net on patches. Defaults are those of Lin et al. 2025 for MoNuSeg and CoNSeP."""

    depth: int = 50  # of the ResNet encoder; 50 is pre-activated and at full resolution
    patch: int = 256  # px, the largest side of the patches images are cut into, Sec. 4.1.1
    crop: int = 256  # px, side of a training crop, Sec. 4.2
    batch: int = 4  # labelled crops a step, Sec. 4.2
    epochs: int = 150  # each as many crops as there are patches, labelled or not, Sec. 4.2
    steps: int = 0  # optimiser steps; 0 = as many as `epochs` are
    learning_rate: float = 1e-4  # Adam, Sec. 4.2
    milestones: tuple[float, ...] = (2 / 3,)  # shares of the training after which it is a tenth, Sec. 4.2
    init: str = "imagenet"  # weights of the encoder: scratch, imagenet or tissue, Sec. 4.2
    precision: str = "bf16"  # of the forward passes; "no" = float32

    @classmethod
    def paper(cls, dataset: str) -> Config:
        """The published values, for a GPU."""
        if dataset in ("monusac", "pannuke"):
            return cls(epochs=50, milestones=(0.5,))
        return cls()

    @classmethod
    def short(cls, dataset: str) -> Config:
        """Real slides on two CPU cores, a quarter of an hour; half an hour with a teacher."""
        return replace(
            cls.paper(dataset), depth=18, crop=160, steps=1_500, learning_rate=1e-3, init="scratch"
        )

    @classmethod
    def quick(cls) -> Config:
        """Simulated tissue on two CPU cores, one minute; two with a teacher."""
        return cls(depth=18, crop=96, steps=400, learning_rate=2e-3, init="scratch")


# -- the method ---------------------------------------------------------------------------------


def feature_maps(np_logits: Tensor, hv: Tensor) -> Tensor:
    """What a network says, as one map: probability of nucleus, horizontal and vertical map.

    np_logits : float (B, 2, H, W), nucleus last; hv : float (B, 2, H, W).
    Returns float32 (B, 3, H, W).
    """
    return torch.cat([np_logits.float().softmax(1)[:, 1:], hv.float()], 1)


def networks(config: Config) -> dict[str, nn.Module]:
    """The HoVer-Net of a config, random weights."""
    return {"hovernet": HoVerNet(config.depth)}


def maps(models: Mapping[str, nn.Module], image: Tensor) -> Tensor:
    """`feature_maps` (B, 3, H, W) of images (B, 3, H, W) in [0, 1]."""
    return feature_maps(*models["hovernet"](image))


def decode(maps: np.ndarray, config: Config) -> np.ndarray:
    """Instances, int32 (H, W), from the maps (3, H, W) of one image."""
    return hovernet.decode(maps[0], maps[1:])


METHOD = Method("baselines.hovernet", Config, networks, maps, decode)


def labelled_losses(said: tuple[Tensor, Tensor], batch: Batch) -> dict[str, Tensor]:
    """`supervised_losses` of what the network said of the batch's images, from its label maps."""
    return supervised_losses(*said, batch.instances > 0, hv_maps(batch.instances), batch.valid)


def step(models: Models, batch: Batch) -> dict[str, Tensor]:
    """One training step: what is lost on a batch of crops with label maps."""
    return labelled_losses(models.hovernet(batch.image), batch)


# -- training -----------------------------------------------------------------------------------

Crops = Callable[[torch.Generator], Batch]
TRAINING = tuple(Config.__dataclass_fields__)


def crops(config: Config, samples: Sequence[Sample]) -> Crops:
    """Draws `config.batch` crops, over all processes, moved and bent, their colours as they are."""
    geometry = Geometry(config.crop)
    bank = PatchBank(samples, geometry.source_size, device())
    return lambda generator: geometry(bank.draw(share(config.batch), generator), generator)


def coloured(draw: Crops) -> Crops:
    """The same with random stain, blur and noise."""

    def batches(generator: torch.Generator) -> Batch:
        batch = draw(generator)
        batch.image = Colour()(batch.image, generator)
        return batch

    return batches


def steps(config: Config, patches: int) -> int:
    """Optimiser steps of a training on so many patches, labelled or not: the same for all methods."""
    return config.steps or max(round(config.epochs * patches / config.batch), 1)


def learn(desk: Desk, config: Config, step: Callable, batches: Callable, patches: int, teacher=None) -> Any:
    """Train a HoVer-Net, alone or before a `teacher` (an `Average`); what a stage returns of it."""
    torch.manual_seed(desk.seed)
    models = networks(config)
    init = initialise(models["hovernet"].encoder, config.init)
    averages = {}
    if teacher is not None:
        models["teacher"], averages = copy.deepcopy(models["hovernet"]), {"teacher": teacher}
    history = desk.fit(
        step,
        models,
        batches,
        steps=steps(config, patches),
        learning_rate=config.learning_rate,
        optimiser=torch.optim.Adam,
        schedule=StepDecay(tuple(config.milestones)),
        mixed_precision=config.precision,
        averages=averages,
    )
    return {"weights": models["hovernet"].state_dict(), "init": init, "history": asdict(history)}


@stage(*TRAINING)
def supervised(desk: Desk, config: Config, labelled: Sequence[Sample], patches: int, start) -> dict[str, Any]:
    """HoVer-Net on labelled patches; `start` names the weights it starts from."""
    return learn(desk, config, step, coloured(crops(config, labelled)), patches)


def run(
    desk: Desk, config: Config, labelled: Sequence[Sample], unlabelled: Sequence[Sample] = ()
) -> tuple[Segmenter, History]:
    """Train on the labelled patches alone; the others only tell how long an epoch is.

    Raises OutOfTime, and InvalidSample where nothing is labelled.
    """
    return trained(desk.do(supervised, config, *start(config, labelled, unlabelled)), METHOD, config)


def start(config: Config, labelled: Sequence[Sample], unlabelled: Sequence[Sample]) -> tuple:
    """(labelled samples, number of all patches, name of the weights to start from); raises InvalidSample."""
    if not labelled:
        raise InvalidSample("not one sample has masks; outline the nuclei of some patches first.")
    return labelled, len(labelled) + len(unlabelled), weights_identity(config.depth, config.init)


def needed(unlabelled: Sequence[Sample]) -> Sequence[Sample]:
    """The unlabelled samples; raises InvalidSample where there are none."""
    if not unlabelled:
        raise InvalidSample(
            "every sample has masks, so there is nothing to learn from those without; add such images, "
            "or train baselines.hovernet."
        )
    return unlabelled


def trained(made: Mapping[str, Any], method: Method, config: Config) -> tuple[Segmenter, History]:
    """The segmenter and the history of what `learn` returned."""
    models = networks(config)
    models["hovernet"].load_state_dict(made["weights"])
    models["hovernet"].to(device())
    return Segmenter(models, method, config, {"init": made["init"]}), History(**made["history"])


def train(
    samples: Sequence[Sample],
    config: Config,
    *,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    minutes: float | None = None,
    progress: bool = True,
    run: Callable = run,
) -> tuple[Segmenter, History]:
    """`run` at a desk of its own, on images with and without masks, cut into patches.

    checkpoint : folder of finished stages and of the one that was broken off; None = the user's cache.
    """
    cut = [patch for sample in samples for patch in patches(sample, config.patch)]
    labelled = [sample for sample in cut if sample.labelled]
    unlabelled = [sample for sample in cut if not sample.labelled]
    return run(Desk(seed, checkpoint, minutes, progress), config, labelled, unlabelled)
