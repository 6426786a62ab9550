"""Train one network from its start: the stage that all methods have in common."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from nucbook.method import Trained
from nucbook.networks import initialise
from nucbook.training.best import Best
from nucbook.training.ema import Average
from nucbook.training.fit import Batches, History, Step
from nucbook.training.stages import StageRunner

Learned = dict[str, Any]  # what a stage keeps of a network: weights, init, history


def learn(
    runner: StageRunner,
    name: str,
    build: Callable[[], nn.Module],
    step: Step,
    batches: Batches,
    *,
    init: str,
    averages: Mapping[str, Average | Best] | None = None,
    keep: str | None = None,
    also: Sequence[str] = (),
    begin: Learned | None = None,
    **options: Any,
) -> Learned:
    """Build a network from the runner's seed, fill its encoder, train it.

    name     : of the network in the step's `models`.
    build    : makes it; its `encoder` attribute is what `init` fills ("scratch" leaves it).
    averages : {name: Average or Best of it}; each begins as a copy of the network.
    keep     : whose weights are returned, the network's own by default.
    also     : averages whose weights are returned beside them.
    begin    : what an earlier training of the network returned, to go on from; None = `init`.
    options  : of `fit`: steps, learning_rate, optimiser, schedule, clip, mixed_precision, …

    Returns {"weights": state dict, "init": the start that came about, "history": a `History` as a mapping,
    and the state dicts of `also` by their names}.
    Raises OutOfTime at the runner's limit.
    """
    torch.manual_seed(runner.seed)
    network = build()
    if begin is None:
        began = initialise(network.get_submodule("encoder"), init)
    else:
        network.load_state_dict(begin["weights"])
        began = begin["init"]
    averages = dict(averages or {})
    models = {name: network} | {other: copy.deepcopy(network) for other in averages}
    history = runner.fit(step, models, batches, averages=averages, **options)
    made = {"weights": models[keep or name].state_dict(), "init": began, "history": asdict(history)}
    return made | {other: models[other].state_dict() for other in also}


def trained(made: Mapping[str, Learned], selection: str = "last") -> Trained:
    """What a method returns of the networks that `learn` trained, by name; `init` is that of the first."""
    return Trained(
        weights={name: learned["weights"] for name, learned in made.items()},
        histories={name: History(**learned["history"]) for name, learned in made.items()},
        init=next(iter(made.values()))["init"],
        selection=selection,
    )
