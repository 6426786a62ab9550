"""Self-training: a network's own predictions become labels for the next (Lee 2013; Zhu et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from nucbook.data.patches import Batch
from nucbook.method import Trained
from nucbook.papers.baselines import hovernet
from nucbook.papers.baselines.config import SelfTraining as Config
from nucbook.papers.baselines.semi_supervised import STRONG, on_hovernet, start
from nucbook.sample import Sample
from nucbook.segmenter import Segmenter
from nucbook.split import Parts
from nucbook.training.learn import Learned, trained
from nucbook.training.stages import StageRunner, stage


@stage("hovernet")
def pseudo_labels(runner: StageRunner, config: Config, samples: Sequence[Sample], weights: Any) -> list[Any]:
    """The nuclei a network finds in each sample, int32 (H, W)."""
    found = Segmenter.of(hovernet.METHOD, config.hovernet, {"hovernet": weights})
    return [found(sample.image).instances for sample in samples]


@stage("hovernet")
def learner(
    runner: StageRunner, config: Config, labelled, pseudo, patches: int, start: str | None
) -> Learned:
    """HoVer-Net on as many crops of one lot of patches as of the other; labels may be pseudo labels."""
    lots = [hovernet.draws(config.hovernet, lot, STRONG) for lot in (labelled, pseudo)]

    def batches(generator: torch.Generator) -> Batch:
        return Batch.concatenate([draw(generator) for draw in lots])

    return hovernet.learnt(runner, config.hovernet, hovernet.step, batches, patches)


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Supervised HoVer-Net; then, `config.rounds` times, pseudo labels and a network that learns them.

    The last network and its history are returned. Raises OutOfTime.
    """
    begin, everything = start(config), [*parts.labelled, *parts.unlabelled]
    count = len(parts.labelled)
    made = runner.do(hovernet.supervised, config.hovernet, parts.labelled, len(everything), begin)
    for _ in range(config.rounds):
        found = runner.do(pseudo_labels, config, everything, made["weights"])
        renamed = [
            replace(s, instances=labels, nuclei=None, points=None, class_of={})
            for s, labels in zip(everything, found)
        ]
        known = parts.labelled if config.truth == "kept" else renamed[:count]
        made = runner.do(learner, config, known, renamed[count:], len(everything), begin)
    return trained({"hovernet": made})


METHOD = on_hovernet("self_training", Config, train)
