"""The floor under all tables of the book: what needs no labels, and what has them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from nucbook.measure import dealt, measure, training_samples
from nucbook.networks.encoder import weights_identity
from nucbook.papers.baselines import classical, hovernet, mean_teacher, self_training, tissue, unet
from nucbook.rows import Context, Recipe, Row, RunResult, Table
from nucbook.segmenter import Segmenter
from nucbook.training.prepare import device
from nucbook.training.stages import stage

TRAINING = (
    "layers",
    "levels",
    "crop",
    "batch",
    "steps",
    "learning_rate",
    "warm_up",
    "weight_decay",
    "init",
    "precision",
    "dice_weight",
    "distance_weight",
)  # what decoding changes needs no new training


@stage(*TRAINING)
def supervised(desk, config, samples, start):
    """A U-Net on labelled samples; `start` names the weights it starts from."""
    return _trained(desk, config, samples)


@stage(*TRAINING, "tiles", "tile")
def simulated(desk, config, simulator):
    """A U-Net on simulated tiles only; `simulator` names the simulator by what it draws."""
    return _trained(desk, config, tissue.tiles(config.tiles, config.tile, desk.seed))


def _trained(desk, config, samples) -> dict[str, Any]:
    network, init, history = unet.learn(desk.fit, config, samples, desk.seed)
    return {"weights": network.state_dict(), "init": init, "history": asdict(history)}


def segmenter(config: unet.Config, trained: dict[str, Any], **card: Any) -> Segmenter:
    """The segmenter of what a stage returned; `card` as in `nucbook.segmenter.Card`."""
    networks = unet.networks(config)
    networks["unet"].load_state_dict(trained["weights"])
    networks["unet"].to(device())
    return Segmenter(networks, unet.METHOD, config, {"init": trained["init"], **card})


def run_classical(row: Row, context: Context) -> RunResult:
    """The floor that needs no labels."""
    segment = partial(classical.segment, config=context.config)
    return RunResult(
        {name: measure(segment, name, context.profile) for name in context.measured_on}, init="none"
    )


def run_tissue(row: Row, context: Context) -> RunResult:
    """A U-Net that has seen simulated tissue only."""
    trained = context.desk.do(simulated, context.config, tissue.simulator())
    return _measured(context, segmenter(context.config, trained), trained["history"]["seconds"])


def run_unet(row: Row, context: Context) -> RunResult:
    """A U-Net with all labels of `row.dataset`."""
    samples = training_samples(row.dataset, context.profile)
    start = weights_identity(context.config.layers, context.config.init)
    trained = context.desk.do(supervised, context.config, samples, start)
    return _measured(context, segmenter(context.config, trained), trained["history"]["seconds"])


def run_split(row: Row, context: Context, run: Callable) -> RunResult:
    """A method that learns from the share `row.labels` of patches with masks, and from the others without.

    run : (desk, config, labelled, unlabelled) -> (Segmenter, History).
    """
    config = context.config
    parts = dealt(row.dataset, context.profile, row.labels, config.patch, context.run.seed)
    found, history = run(context.desk, config, parts.labelled, parts.unlabelled)
    return _measured(context, found, history.seconds)


def _measured(context: Context, found: Segmenter, seconds: float) -> RunResult:
    segment = lambda image: found(image).instances
    measured = {name: measure(segment, name, context.profile) for name in context.measured_on}
    return RunResult(measured, init=found.card.init, seconds=seconds)


METHODS = {
    "hovernet": Recipe(hovernet.Config, partial(run_split, run=hovernet.run)),
    "self_training": Recipe(self_training.Config, partial(run_split, run=self_training.run)),
    "mean_teacher": Recipe(mean_teacher.Config, partial(run_split, run=mean_teacher.run)),
    "classical": Recipe(classical.Config, run_classical),
    "tissue": Recipe(tissue.Config, run_tissue),
    "unet": Recipe(unet.Config, run_unet),
}

SLIDES = ("kumar", "tnbc", "consep")

TABLES = {
    "slides": Table(
        paper="baselines",
        name="slides",
        caption="No labels, simulated labels and all labels of the 12 Kumar training images, on the test "
        "images of three data sets.",
        rows=(
            Row(
                "Classical",
                "baselines.classical",
                "kumar",
                labels="none",
                measured_on=SLIDES,
                alias="classical",
            ),
            Row(
                "U-Net, simulated tissue only",
                "baselines.tissue",
                "kumar",
                labels="none",
                measured_on=SLIDES,
                alias="tissue",
            ),
            Row(
                "U-Net, from scratch",
                "baselines.unet",
                "kumar",
                measured_on=SLIDES,
                alias="scratch",
                changes={"init": "scratch"},
            ),
            Row(
                "U-Net, from simulated tissue",
                "baselines.unet",
                "kumar",
                measured_on=SLIDES,
                alias="from-tissue",
                changes={"init": "tissue"},
            ),
        ),
        columns={"Dice": "dice", "AJI": "aji", "PQ": "pq"},
        spelled={"kumar": "Kumar", "tnbc": "TNBC", "consep": "CoNSeP"},
    )
}
