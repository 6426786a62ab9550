"""Self-training: a network's own predictions become labels for the next (Lee 2013; Zhu et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from nucbook.data.patches import Batch
from nucbook.papers.baselines import hovernet
from nucbook.papers.baselines.hovernet import coloured, crops
from nucbook.sample import Sample
from nucbook.segmenter import Method, Segmenter
from nucbook.training.fit import History
from nucbook.training.stages import Desk, stage


@dataclass(frozen=True)
class Config(hovernet.Config):
    """HoVer-Net, and what it learns in the next round."""

    rounds: int = 1  # networks that learn from the one before; not stated
    truth: str = "replaced"  # of labelled patches: "replaced" by pseudo labels, Sec. 4.3, or "kept", as usual


@stage("depth")
def pseudo_labels(desk: Desk, config: Config, samples: Sequence[Sample], weights) -> list[Any]:
    """The nuclei a network finds in each sample, int32 (H, W)."""
    made = {"weights": weights, "init": "", "history": {}}
    found, _ = hovernet.trained(made, METHOD, config)
    return [found(sample.image).instances for sample in samples]


@stage(*hovernet.TRAINING)
def learner(desk: Desk, config: Config, labelled, pseudo, patches, start) -> dict[str, Any]:
    """HoVer-Net on as many crops of one lot of patches as of the other; labels may be pseudo labels."""
    lots = [coloured(crops(config, lot)) for lot in (labelled, pseudo)]

    def batches(generator: torch.Generator) -> Batch:
        a, b = (draw(generator) for draw in lots)
        both = {name: torch.cat([a.maps[name], b.maps[name]]) for name in a.maps}
        return Batch(torch.cat([a.image, b.image]), torch.cat([a.valid, b.valid]), **both)

    return hovernet.learn(desk, config, hovernet.step, batches, patches)


METHOD = Method(
    "baselines.self_training", Config, hovernet.networks, hovernet.maps, hovernet.decode, "some masks"
)


def run(
    desk: Desk, config: Config, labelled: Sequence[Sample], unlabelled: Sequence[Sample]
) -> tuple[Segmenter, History]:
    """Supervised HoVer-Net; then, `config.rounds` times, pseudo labels and a network that learns them.

    Returns the last network and its history. Raises OutOfTime, and InvalidSample where either kind of
    sample is missing.
    """
    labelled, patches, start = hovernet.start(config, labelled, unlabelled)
    everything = [*labelled, *hovernet.needed(unlabelled)]
    made = desk.do(hovernet.supervised, config, labelled, patches, start)
    for _ in range(config.rounds):
        found = desk.do(pseudo_labels, config, everything, made["weights"])
        renamed = [
            replace(s, instances=labels, nuclei=None, points=None, class_of={})
            for s, labels in zip(everything, found)
        ]
        known = labelled if config.truth == "kept" else renamed[: len(labelled)]
        made = desk.do(learner, config, known, renamed[len(labelled) :], patches, start)
    return hovernet.trained(made, METHOD, config)


train = partial(hovernet.train, run=run)
