"""SPN, then pseudo instances, then IEN (Liu et al. 2022, Sec. 2.2 and 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nucbook.data.augment import Colour
from nucbook.data.patches import Batch
from nucbook.data.reinhard import KUMAR
from nucbook.method import Method, Trained
from nucbook.metrics import evaluate_many
from nucbook.networks.encoder import weights_identity
from nucbook.papers.weaknucleiseg import labels as label
from nucbook.papers.weaknucleiseg.config import Config
from nucbook.papers.weaknucleiseg.instances import decode, maps
from nucbook.papers.weaknucleiseg.losses import (
    gather,
    partial_cross_entropy,
    pull_loss,
    push_loss,
    regulariser,
)
from nucbook.papers.weaknucleiseg.network import EmbeddingNet, SemanticNet
from nucbook.sample import InvalidSample, Sample
from nucbook.segmenter import Segmenter
from nucbook.split import Parts
from nucbook.training.best import Best
from nucbook.training.crops import crops
from nucbook.training.learn import Learned, learn, trained
from nucbook.training.prepare import Models, device
from nucbook.training.schedules import Constant, Cosine
from nucbook.training.stages import StageRunner, stage

POINTS = ("supervision", "jitter", "missing")  # config fields, by what they decide
PARTIAL = (*POINTS, "features", "colour_weight", "patch", "max_distance")
TRAINING = ("encoder", "levels", "crop", "batch", "colour", "init", "schedule", "precision")
SPN = ("spn_steps", "spn_learning_rate", "spn_weight_decay")
CUT = ("foreground_threshold", "background_threshold")
LOSS = ("pull_margin", "push_margin", "alpha", "gamma", "squared")
IEN = ("ien_steps", "ien_learning_rate", "channels")


# -- one step of each network --------------------------------------------------------------------


def spn_step(models: Models, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy on each partial label, summed: `batch.voronoi` and `batch.cluster`, or `batch.mask`."""
    logits, known = models.spn(batch.image), batch.valid & batch.annotated
    return {
        name: partial_cross_entropy(logits, batch.maps[name].masked_fill(~known, label.IGNORED))
        for name in ("voronoi", "cluster", "mask")
        if name in batch.maps
    }


def ien_step(models: Models, batch: Batch, config: Config) -> dict[str, Tensor]:
    """Eq. 1 on the pseudo instances `batch.pseudo`."""
    found = gather(models.ien(batch.image), batch.pseudo.masked_fill(~(batch.valid & batch.annotated), 0))
    return {
        "pull": pull_loss(found, config.pull_margin, config.alpha, config.squared),
        "push": push_loss(found, config.push_margin, config.alpha, config.squared),
        "regulariser": config.gamma * regulariser(found),
    }


# -- stages --------------------------------------------------------------------------------------


@stage(*PARTIAL)
def partial_labels(
    runner: StageRunner, config: Config, samples: Sequence[Sample]
) -> dict[str, list[np.ndarray]]:
    """What is known of the pixels of each sample: uint8 (H, W), BACKGROUND, NUCLEUS or IGNORED."""
    if config.supervision == "masks":
        return {"mask": [(sample.label_map > 0).astype(np.uint8) for sample in samples]}
    made: dict[str, list[np.ndarray]] = {"voronoi": [], "cluster": []}
    for sample, points in zip(samples, clicked(config, samples, runner.seed)):
        features = (
            label.qu_features(sample.image, points, config.max_distance)
            if config.features == "qu"
            else label.cluster_features(
                sample.image, points, config.colour_weight, config.max_distance, config.patch
            )
        )
        made["voronoi"].append(label.voronoi_labels(points, sample.shape))
        made["cluster"].append(label.cluster_labels(features, points))
    return made


@stage(*TRAINING, *SPN)
def semantic(
    runner: StageRunner,
    config: Config,
    samples: Sequence[Sample],
    known: Mapping[str, Sequence[np.ndarray]],
    start: str | None,
    choice: Choice | None = None,
) -> Learned:
    """SPN on partial labels. `start` names the weights it starts from, `choice` tells how it is selected."""
    return _learnt(
        runner,
        config,
        "spn",
        lambda: SemanticNet(config.encoder, config.levels),
        spn_step,
        crops(samples, config.crop, config.batch, known, colour(config)),
        choice,
        init=config.init,
        steps=config.spn_steps,
        learning_rate=config.spn_learning_rate,
        weight_decay=config.spn_weight_decay,
    )


@stage(*POINTS, *CUT, "encoder", "levels", "min_area")
def pseudo_instances(
    runner: StageRunner, config: Config, samples: Sequence[Sample], spn: Mapping[str, Tensor]
) -> list[np.ndarray]:
    """What SPN finds in the samples it learnt from, one region per point; or the masks."""
    if config.supervision == "masks":
        return [label.mask_labels(sample.label_map) for sample in samples]
    network = SemanticNet(config.encoder, config.levels)
    network.load_state_dict(spn)
    found = Segmenter({"spn": network.to(device())}, METHOD, config)
    return [
        label.instance_labels(
            found.maps(sample.image).probability,
            points,
            config.foreground_threshold,
            config.background_threshold,
            config.min_area,
        )
        for sample, points in zip(samples, clicked(config, samples, runner.seed))
    ]


@stage(*TRAINING, *LOSS, *IEN)
def embedding(
    runner: StageRunner,
    config: Config,
    samples: Sequence[Sample],
    instances: Sequence[np.ndarray],
    start: str | None,
    choice: Choice | None = None,
    spn: Mapping[str, Tensor] | None = None,
) -> Learned:
    """IEN on pseudo instances; arguments as `semantic`, and `spn`, whose encoder it starts from."""

    def build() -> EmbeddingNet:
        network = EmbeddingNet(config.channels, config.encoder, config.levels)
        if spn is not None:
            known = SemanticNet(config.encoder, config.levels)
            known.load_state_dict(spn)
            network.encoder.load_state_dict(known.encoder.state_dict())
        return network

    return _learnt(
        runner,
        config,
        "ien",
        build,
        partial(ien_step, config=config),
        crops(
            samples,
            config.crop,
            config.batch,
            {"pseudo": instances},
            colour(config),
            ids={"pseudo": label.INSTANCE_BACKGROUND + 1},
        ),
        choice,
        init="scratch" if spn else config.init,
        steps=config.ien_steps,
        learning_rate=config.ien_learning_rate,
        weight_decay=0.0,
    )


def colour(config: Config) -> Colour | None:
    """How the colours of training crops are varied; None = not at all."""
    return Colour() if config.colour == "varied" else None


def _learnt(
    runner: StageRunner,
    config: Config,
    name: str,
    build: Callable[[], nn.Module],
    step: Callable,
    batches: Callable,
    choice: Choice | None,
    *,
    init: str,
    steps: int,
    learning_rate: float,
    weight_decay: float,
) -> Learned:
    """`training.learn` with the optimiser and schedule that both networks share."""
    best = {"best": Best(name, choice, every=max(steps // 20, 1))} if choice else {}
    return learn(
        runner,
        name,
        build,
        step,
        batches,
        init=init,
        averages=best,
        keep="best" if choice else name,
        steps=steps,
        learning_rate=learning_rate,
        optimiser=partial(torch.optim.Adam, betas=(0.9, 0.99), weight_decay=weight_decay),
        schedule=Cosine(steps // 20) if config.schedule == "cosine" else Constant(),
        mixed_precision=config.precision,
    )


def clicked(config: Config, samples: Sequence[Sample], seed: int) -> list[np.ndarray]:
    """The points of each sample as its annotator gave them: `jitter` px off, a fraction `missing`.

    Raises InvalidSample for a sample without points and without masks.
    """
    made = []
    for number, sample in enumerate(samples):
        known = sample.weaken("points") if sample.labelled else sample
        if known.points is None:
            raise InvalidSample(
                f"{sample.name}: has neither points nor masks; click its nuclei, or leave it out."
            )
        rng = np.random.default_rng([seed, number])
        made.append(label.disturbed(known.points, sample.shape, rng, config.jitter, config.missing))
    return made


# -- the whole -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """A network's worth as AJI on validation images, which takes their full masks (released code).

    samples : with masks; spn : weights of the first network where the second is chosen.
    """

    config: Config
    samples: Sequence[Sample]
    spn: Mapping[str, Tensor] | None = None

    def __call__(self, network: nn.Module) -> float:
        """Mean AJI over the samples, as Qu et al. 2019 compute it."""
        if self.spn is None:
            models, config = {"spn": network}, replace(self.config, grouping="components", threshold=0.5)
        else:
            models, config = {**networks(self.config), "ien": network}, self.config
            models["spn"].load_state_dict(self.spn)
            models["spn"].to(next(network.parameters()).device)
        found = Segmenter(models, METHOD, config)
        report = evaluate_many((s.label_map, found(s.image).instances, s.valid) for s in self.samples)
        return report.mean["aji_qu"]


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """All stages of the method, those that the runner knows from its cache.

    The labelled samples have points, or masks where `config.supervision` is "masks". The validation samples
    have masks; they are looked at where `config.selection` is "masks" alone.
    Raises OutOfTime, InvalidSample, ValueError for a selection without validation images.
    """
    samples, validation = parts.labelled, parts.validation
    choosing = config.selection == "masks"
    if choosing and not validation:
        raise ValueError("selection by masks needs validation images with masks; or take selection 'last'.")
    start = weights_identity(config.encoder, config.init)
    known = runner.do(partial_labels, config, samples)
    choice = Choice(config, validation) if choosing else None
    spn = runner.do(semantic, config, samples, known, start, choice)
    made = {"spn": spn}
    if config.grouping == "embedding":
        instances = runner.do(pseudo_instances, config, samples, spn["weights"])
        choice = Choice(config, validation, spn["weights"]) if choosing else None
        known_encoder = spn["weights"] if config.ien_init == "spn" else None
        made["ien"] = runner.do(embedding, config, samples, instances, start, choice, known_encoder)
    return trained(made, "AJI on full masks of validation images" if choosing else "last")


def networks(config: Config) -> dict[str, nn.Module]:
    """SPN, and IEN where pixels are grouped by its embedding; random weights."""
    models: dict[str, nn.Module] = {"spn": SemanticNet(config.encoder, config.levels)}
    if config.grouping == "embedding":
        models["ien"] = EmbeddingNet(config.channels, config.encoder, config.levels)
    return models


METHOD = Method(
    "weaknucleiseg",
    Config,
    networks,
    maps,
    decode,
    train,
    learns_from=lambda config: config.supervision,
    colours=lambda config: KUMAR if config.colour == "normalised" else None,
)
