"""Mean teacher: the student agrees with its own moving average (Tarvainen and Valpola 2017)."""

from __future__ import annotations

import math
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
    weight = config.consistency * ramp(models.step, config.ramp_up * models.steps)
    return {**losses, "consistency": weight * consistency}


def ramp(step: int, length: float) -> float:
    """The factor that a weight has while it grows over `length` steps: exp(−5 (1 − step / length)²), then 1.

    Tarvainen and Valpola 2017, after Laine and Aila 2017. 1 throughout where the length is 0.
    """
    return math.exp(-5 * (1 - step / length) ** 2) if step < length else 1.0


@stage(*[name for name in Config.__dataclass_fields__ if name != "predicts"])
def agreeing(
    runner: StageRunner,
    config: Config,
    labelled: Sequence[Sample],
    unlabelled: Sequence[Sample],
    start: str | None,
) -> Learned:
    """The student, and beside it the teacher; `start` names the weights it starts from."""
    batches, patches = views_of(config, labelled, unlabelled), len(labelled) + len(unlabelled)
    teacher = Average("hovernet", config.alpha)
    taught = partial(step, config=config)
    return hovernet.learnt(runner, config.hovernet, taught, batches, patches, teacher, also=["teacher"])


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Train on patches with and without masks; the student or teacher of the last step is kept.

    Raises OutOfTime.
    """
    made = runner.do(agreeing, config, parts.labelled, parts.unlabelled, start(config))
    if config.predicts == "teacher":
        made = {**made, "weights": made["teacher"]}
    return trained({"hovernet": made})


METHOD = on_hovernet("mean_teacher", Config, train)
