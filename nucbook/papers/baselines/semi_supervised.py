"""What methods share that learn from patches with and without labels: views, a teacher and a student.

The same unlabelled crop is shown twice, in other colours: the teacher sees it nearly as it is, the student
stained anew, blurred and with noise. Both views share one geometry, so their maps can be compared pixel by
pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucbook.data.augment import Colour
from nucbook.data.patches import Batch
from nucbook.method import LearnsFrom, Method, Trained
from nucbook.networks.encoder import weights_identity
from nucbook.papers.baselines import hovernet
from nucbook.papers.baselines.config import OnHoVerNet
from nucbook.papers.baselines.hovernet import feature_maps, labelled_losses
from nucbook.sample import Sample
from nucbook.split import Parts
from nucbook.training.crops import Draw
from nucbook.training.prepare import Models
from nucbook.training.stages import StageRunner

WEAK = Colour(stain=0.05, tilt=0.01, offset=0.02, blur=0.0, noise=0.01)
STRONG = Colour()


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


def views(labelled: Draw, unlabelled: Draw) -> Callable[[torch.Generator], Views]:
    """Draws `Views` from coloured labelled crops and uncoloured unlabelled ones."""

    def batches(generator: torch.Generator) -> Views:
        known, plain = labelled(generator), unlabelled(generator)
        return Views(known, plain, WEAK(plain.image, generator), STRONG(plain.image, generator))

    return batches


def views_of(
    config: OnHoVerNet, labelled: Sequence[Sample], unlabelled: Sequence[Sample]
) -> Callable[[torch.Generator], Views]:
    """`views` of the patches of a training."""
    known = hovernet.draws(config.hovernet, labelled, STRONG)
    return views(known, hovernet.draws(config.hovernet, unlabelled))


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
    losses = labelled_losses((logits[:count], hv[:count]), views.labelled)
    return losses, feature_maps(logits[count:], hv[count:])


def consistency_loss(student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Squared difference, summed over maps, the mean over valid pixels; the gradient is the student's alone.

    student, teacher : float (B, C, H, W); valid : bool (B, H, W).
    """
    error = (student - teacher.detach()).square().sum(1)
    return (error * valid).sum() / valid.sum().clamp(min=1)


# -- the method ---------------------------------------------------------------------------------


def start(config: OnHoVerNet) -> str | None:
    """What names the weights that the encoder starts from."""
    return weights_identity(config.hovernet.encoder, config.hovernet.init)


def on_hovernet(
    name: str,
    config: type[OnHoVerNet],
    train: Callable[[StageRunner, Any, Parts], Trained],
    reads: Callable[[Any], tuple[str, ...]] = lambda config: (),
) -> Method:
    """A method whose network is a HoVer-Net and which uses patches without labels too."""

    def networks(config: OnHoVerNet) -> dict[str, nn.Module]:
        return hovernet.networks(config.hovernet)

    def maps(models: Mapping[str, nn.Module], image: Tensor, config: OnHoVerNet) -> Tensor:
        return hovernet.maps(models, image, config.hovernet)

    def decode(maps: np.ndarray, config: OnHoVerNet) -> np.ndarray:
        return hovernet.decode(maps, config.hovernet)

    def learns_from(config: OnHoVerNet) -> LearnsFrom:
        return "some masks"

    def patch(config: OnHoVerNet) -> int:
        return config.hovernet.patch

    return Method(name, config, networks, maps, decode, train, learns_from, patch, reads)
