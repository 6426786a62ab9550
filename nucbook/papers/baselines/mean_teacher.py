"""Mean teacher: the student agrees with its own moving average (Tarvainen and Valpola 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from nucbook.method import Trained
from nucbook.papers.baselines import hovernet
from nucbook.papers.baselines.config import MeanTeacher as Config
from nucbook.papers.baselines.semi_supervised import (
    Views,
    consistency_loss,
    on_hovernet,
    start,
    student_maps,
    teacher_maps,
    views_of,
)
from nucbook.sample import Sample
from nucbook.split import Parts
from nucbook.training.ema import Average
from nucbook.training.learn import Learned, trained
from nucbook.training.prepare import Models
from nucbook.training.stages import StageRunner, stage


def step(models: Models, views: Views, config: Config) -> dict[str, Tensor]:
    """One training step: the supervised losses, and what student and teacher disagree in."""
    teacher = teacher_maps(models, views)
    losses, student = student_maps(models, views)
    consistency = consistency_loss(student, teacher, views.unlabelled.valid)
    return {**losses, "consistency": config.consistency * consistency}


@stage(*Config.__dataclass_fields__)
def agreeing(
    runner: StageRunner,
    config: Config,
    labelled: Sequence[Sample],
    unlabelled: Sequence[Sample],
    start: str | None,
) -> Learned:
    """The student; `start` names the weights it starts from."""
    batches, patches = views_of(config, labelled, unlabelled), len(labelled) + len(unlabelled)
    teacher = Average("hovernet", config.alpha)
    return hovernet.learnt(runner, config.hovernet, partial(step, config=config), batches, patches, teacher)


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train on patches with and without masks; the student of the last step is kept. Raises OutOfTime."""
    return trained({"hovernet": runner.do(agreeing, config, parts.labelled, parts.unlabelled, start(config))})


METHOD = on_hovernet("mean_teacher", Config, train)
