"""Mean teacher: the student agrees with its own moving average (Tarvainen and Valpola 2017).

The same unlabelled crop is shown twice, in other colours: the teacher sees it nearly as it is, the
student stained anew, blurred and with noise. Both views share one geometry, so their maps can be
compared pixel by pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nucbook.data.augment import Colour
from nucbook.data.patches import Batch
from nucbook.papers.baselines import hovernet
from nucbook.papers.baselines.hovernet import Crops, coloured, crops, feature_maps, labelled_losses
from nucbook.sample import Sample
from nucbook.segmenter import Method, Segmenter
from nucbook.training.ema import Average
from nucbook.training.fit import History
from nucbook.training.prepare import Models
from nucbook.training.stages import Desk, stage

WEAK = Colour(stain=0.05, tilt=0.01, offset=0.02, blur=0.0, noise=0.01)
STRONG = Colour()


@dataclass(frozen=True)
class Config(hovernet.Config):
    """HoVer-Net and its average. Lin et al. 2025 where they say anything."""

    alpha: float = 0.95  # share of the old average kept at each step, Eq. 1
    mse: float = 10.0  # weight of the squared difference; not stated, chosen on simulated tissue


@dataclass(frozen=True)
class Views:
    """One step's crops.

    labelled   : with label maps, strongly coloured.
    unlabelled : with the colours they have.
    weak       : float (B, 3, H, W), the same crops as the teacher sees them; strong : as the student does.
    """

    labelled: Batch
    unlabelled: Batch
    weak: Tensor
    strong: Tensor


def views(labelled: Crops, unlabelled: Crops) -> Any:
    """Draws `Views` from two sources of uncoloured crops."""

    def batches(generator: torch.Generator) -> Views:
        known, plain = coloured(labelled)(generator), unlabelled(generator)
        return Views(known, plain, WEAK(plain.image, generator), STRONG(plain.image, generator))

    return batches


def teacher_maps(models: Models, views: Views) -> Tensor:
    """F of the teacher, (B, 3, H, W), of the weak view, without gradient.

    Batch normalisation takes the batch's own statistics, as the student's does and as in
    Tarvainen and Valpola's code. With running ones the teacher's HV maps are a little steeper
    than the student's, the student follows, and they grow from step to step without bound.
    """
    models.teacher.train()
    with torch.no_grad():
        return feature_maps(*models.teacher(views.weak))


def student_maps(models: Models, views: Views) -> tuple[dict[str, Tensor], Tensor]:
    """The supervised losses of the labelled crops, and F of the student (B, 3, H, W) of the strong view.

    Both go through the network together, so that they share the statistics of batch normalisation.
    """
    logits, hv = models.hovernet(torch.cat([views.labelled.image, views.strong]))
    count = len(views.labelled)
    return labelled_losses((logits[:count], hv[:count]), views.labelled), feature_maps(
        logits[count:], hv[count:]
    )


def consistency_loss(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Squared difference, summed over maps, the mean over valid pixels; the gradient is the student's alone.

    student, teacher : float (B, C, H, W); valid : bool (B, H, W).
    """
    error = (student - teacher.detach()).square().sum(1)
    return (error * valid).sum() / valid.sum().clamp(min=1)


def step(models: Models, views: Views, config: Config) -> dict[str, Tensor]:
    """One training step: the supervised losses, and what student and teacher disagree in."""
    teacher = teacher_maps(models, views)
    losses, student = student_maps(models, views)
    consistency = consistency_loss(student, teacher, views.unlabelled.valid)
    return {**losses, "consistency": config.mse * consistency}


@stage(*Config.__dataclass_fields__)
def agreeing(desk: Desk, config: Config, labelled, unlabelled, patches, start) -> dict[str, Any]:
    """The student; `start` names the weights it starts from."""
    batches = views(crops(config, labelled), crops(config, unlabelled))
    taught = partial(step, config=config)
    return hovernet.learn(desk, config, taught, batches, patches, Average("hovernet", config.alpha))


METHOD = Method(
    "baselines.mean_teacher", Config, hovernet.networks, hovernet.maps, hovernet.decode, "some masks"
)


def run(
    desk: Desk, config: Config, labelled: Sequence[Sample], unlabelled: Sequence[Sample]
) -> tuple[Segmenter, History]:
    """Train on patches with and without masks; the student of the last step is kept.

    Raises OutOfTime, and InvalidSample where either kind is missing.
    """
    labelled, patches, start = hovernet.start(config, labelled, unlabelled)
    made = desk.do(agreeing, config, labelled, hovernet.needed(unlabelled), patches, start)
    return hovernet.trained(made, METHOD, config)


train = partial(hovernet.train, run=run)
