"""Which pixel to annotate: choose windows, make images of them, learn, and learn again (Lou et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nucbook.data.augment import Colour, unbent
from nucbook.data.batch import Batch
from nucbook.method import LearnsFrom, Method, Trained
from nucbook.networks.encoder import weights_identity
from nucbook.nuclei import Nuclei
from nucbook.papers.baselines import hovernet, maskrcnn
from nucbook.papers.whichpixel.config import Config, Selection
from nucbook.papers.whichpixel.picks import annotated, cut_out
from nucbook.papers.whichpixel.pseudo import with_truth
from nucbook.papers.whichpixel.selection import choices, pick
from nucbook.papers.whichpixel.synthesis import synthetic_samples
from nucbook.papers.whichpixel.translation import translated_samples
from nucbook.sample import Sample
from nucbook.segmenter import Segmenter
from nucbook.split import Parts
from nucbook.training.crops import Draw, crops
from nucbook.training.learn import Learned, trained
from nucbook.training.stages import StageRunner, stage

NAIVE = Colour(stain=0.0, tilt=0.0, offset=0.0)  # blur and noise, Sec. IV-A
LEARNING = ("augmentation", "segmenter", "maskrcnn", "hovernet")  # fields of a segmentation network


def segmenter(config: Config) -> tuple[Method, Any]:
    """The method whose network segments, and its config."""
    if config.segmenter == "hovernet":
        return hovernet.METHOD, config.hovernet
    return maskrcnn.METHOD, config.maskrcnn


def networks(config: Config) -> dict[str, nn.Module]:
    """The segmentation network of a config, random weights."""
    method, own = segmenter(config)
    return method.networks(own)


def maps(models: Mapping[str, nn.Module], image: Tensor, config: Config) -> Any:
    """What it predicts for images (B, 3, H, W) in [0, 1]."""
    method, own = segmenter(config)
    return method.maps(models, image, own)


def decode(maps: Any, config: Config) -> np.ndarray | Nuclei:
    """The nuclei of one image."""
    method, own = segmenter(config)
    return method.decode(maps, own)


# -- what is annotated ---------------------------------------------------------------------------


def windows_to_paint(runner: StageRunner, config: Selection, samples: Sequence[Sample]) -> list[Sample]:
    """Windows of labelled samples that GANs learn from, chosen as those to annotate are.

    Where samples are smaller than a window, so are the windows; where there are fewer than K₁, all are taken.
    Raises ValueError where every window holds pixels that nobody annotated.
    """
    whole = [s for s in samples if s.annotated is None or s.annotated.all()]
    if not whole:
        raise ValueError(
            f"each of the {len(samples)} samples is annotated in part only, and a GAN would take the rest "
            "for background; give one that is annotated as a whole, or synthesis='none'."
        )
    side = min(config.size, *(length for sample in whole for length in sample.shape))
    fitting = replace(config, size=side - side % 2)
    count = min(config.clusters, len(choices(whole, replace(fitting, clusters=1))))
    return cut_out(whole, pick(runner, replace(fitting, clusters=count), whole))


def synthetic(runner: StageRunner, config: Config, windows: Sequence[Sample]) -> list[Sample]:
    """Images made from labelled windows, with their masks; none where the config wants none."""
    if config.synthesis == "none":
        return []
    if config.synthesis == "csingan":
        return synthetic_samples(runner, config.masks, config.gan, windows)
    return translated_samples(runner, config.masks, config.translation, windows, config.synthesis)


# -- the segmentation network --------------------------------------------------------------------


def draws(config: Any, samples: Sequence[Sample], count: int) -> Draw:
    """Draws `count` crops of some samples, augmented as the config says."""
    _, own = segmenter(config)
    if config.augmentation == "strong":
        return crops(samples, own.crop, count, colour=Colour())
    naive = config.augmentation == "naive"
    return crops(samples, own.crop, count, colour=NAIVE if naive else None, geometry=unbent(own.crop, naive))


def in_equal_shares(config: Any, lots: Sequence[Sequence[Sample]]) -> Callable[[torch.Generator], Batch]:
    """Batches with as many crops of each lot as of any other, for real ones are 2 % of all.

    A batch that cannot be shared evenly is the nearest that can.
    """
    _, own = segmenter(config)
    count = max(round(own.batch / len(lots)), 1)
    each = [draws(config, lot, count) for lot in lots]
    return lambda generator: Batch.concatenate([draw(generator) for draw in each])


@stage(*LEARNING)
def segmented(
    runner: StageRunner,
    config: Config,
    lots: Sequence[Sequence[Sample]],
    patches: int,
    start: str | None,
    begin: Learned | None = None,
) -> Learned:
    """The segmentation network on lots of samples with masks.

    patches : of an epoch; start : names the weights that its encoder starts from; begin : the network to go
    on from instead.
    """
    _, own = segmenter(config)
    batches = in_equal_shares(config, lots)
    if config.segmenter == "hovernet":
        return hovernet.learnt(runner, own, hovernet.step, batches, patches, begin=begin)
    number = hovernet.steps(own, patches)
    build = partial(maskrcnn.build, own)
    return maskrcnn.learnt(runner, own, build, maskrcnn.step, batches, number, start, begin)


@stage("segmenter", "maskrcnn", "hovernet")
def found(
    runner: StageRunner, config: Config, samples: Sequence[Sample], weights: Mapping[str, Tensor]
) -> list[np.ndarray]:
    """The nuclei that a network finds in each sample, int32 (H, W)."""
    method, own = segmenter(config)
    find = Segmenter.of(method, own, {config.segmenter: weights})
    return [find(sample.image).instances for sample in samples]


# -- the method ---------------------------------------------------------------------------------


def train(runner: StageRunner, config: Config, parts: Parts) -> Trained:
    """Choose windows, make images of them, train; then, `rounds` times, label all images and train again.

    The last network is the result (Sec. III-C). With `labels` "selected" the samples' outlines stand for an
    annotator, who is asked for those in the chosen windows alone; "given" takes the labelled samples as they
    are. Windows without nuclei teach the network background.

    Raises ValueError as `pick`, `windows_to_paint` and the synthesis do, and for samples without outlines
    beside "selected"; OutOfTime.
    """
    if config.labels == "selected":
        if parts.unlabelled:
            raise ValueError(
                f"labels='selected' chooses windows and looks their outlines up, but {len(parts.unlabelled)} "
                "samples have none; labels='given' learns from the outlines there are."
            )
        picks = pick(runner, config.selection, parts.labelled)
        real = known = annotated(parts.labelled, picks)
        windows = cut_out(parts.labelled, picks)
    else:
        real = known = list(parts.labelled)
        windows = [] if config.synthesis == "none" else windows_to_paint(runner, config.selection, real)
    lots = [lot for lot in (real, synthetic(runner, config, windows)) if lot]
    patches = sum(len(lot) for lot in lots)
    _, own = segmenter(config)
    start = weights_identity(own.encoder, own.init)
    made = runner.do(segmented, config, lots, patches, start)
    knowing = {sample.name: sample for sample in known}
    everything = [*parts.labelled, *parts.unlabelled]
    unseen = [sample.weaken("nothing") for sample in everything]
    for _ in range(config.rounds):
        labels = runner.do(found, config, unseen, made["weights"])
        pseudo = [
            replace(sample, instances=with_truth(own, knowing.get(sample.name)))
            for sample, own in zip(unseen, labels)
        ]
        begin = made if config.begin == "last" else None
        made = runner.do(segmented, config, [*lots, pseudo], patches + config.pseudo, start, begin)
    return trained({config.segmenter: made})


def learns_from(config: Config) -> LearnsFrom:
    """Masks of some samples; of all where windows are chosen among them, or nothing else is learnt from."""
    return "some masks" if config.labels == "given" and config.rounds else "masks"


def selects(config: Config) -> bool:
    """Whether windows are chosen among images whose outlines are known."""
    return config.labels == "selected"


METHOD = Method("whichpixel", Config, networks, maps, decode, train, learns_from, selects=selects)
