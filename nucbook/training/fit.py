"""The training loop of the whole book: one function, to be read from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from nucbook.fingerprint import fingerprint
from nucbook.training import turns
from nucbook.training.ema import Average
from nucbook.training.history import History, mean_losses, watched
from nucbook.training.interrupts import interrupts, out_of_time
from nucbook.training.keeper import Keeper
from nucbook.training.prepare import (
    accelerator_for,
    average_gradients,
    on_device,
    part,
    prepared,
    randomness,
    set_modes,
)
from nucbook.training.schedules import Constant
from nucbook.training.turns import Step, Turn

Batches = Callable[[torch.Generator], Any]


def fit(
    step: Step | Mapping[str, Turn],
    models: Mapping[str, nn.Module],
    batches: Batches,
    *,
    steps: int,
    learning_rate: float | Mapping[str, float] = 1e-3,
    optimiser: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = torch.optim.AdamW,
    schedule: Callable[[int, int], float] = Constant(),  # noqa: B008 (it is frozen)
    clip: float | None = None,
    frozen: Sequence[str] = (),
    averages: Mapping[str, Average] | None = None,
    mixed_precision: str | None = None,
    seed: int = 0,
    stage: str = "train",
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 200,
    config: Any = None,
    minutes: float | None = None,
    log_every: int = 10,
    progress: bool = True,
) -> History:
    """Train networks in place; resumes by itself where `checkpoint` holds an earlier part of this run.

    step             : `step(models, batch) -> {name: weighted loss}`, scalars. Use the `models` it is
                       handed, which are prepared for device and precision; `models.step` counts from 0.
                       A scalar called "watched/…" is kept in the history and not minimised.
                       Or {name: Turn}: players that learn one after the other, as a critic and a generator.
                       Then a step is a round: each turn in order, as often as its `repeats`; averages
                       follow once a round; losses are called "turn/loss".
    models           : {name: network}; all weights learn but for `frozen` and `averages`.
    batches          : `batches(generator) -> batch`, called once a step with a fresh CPU generator. Its
                       numbers, and torch's global ones, follow from (seed, stage, step, process) alone;
                       with turns once a repeat, from (seed, stage, step, turn, repeat, process).
    learning_rate    : one, or {dotted prefix of parameter names: rate}, "" for the rest.
    optimiser        : parameter groups -> optimiser, as `functools.partial(torch.optim.SGD, momentum=0.9)`.
    schedule         : factor on the learning rates, from `nucbook.training.schedules`.
    clip             : largest norm of the gradient of all parameters together, or None. These four are
                       each Turn's own where there are turns.
    frozen           : dotted names of networks or parts that do not learn: no gradient, eval mode.
    averages         : {teacher: Average(of=student)}: networks that follow another, in eval mode unless the
                       step sets them otherwise.
    mixed_precision  : "no", "bf16", "fp16" or "auto", see `prepare.precision`; None takes what `accelerate
                       launch` is given.
    checkpoint       : folder of its own, or None to keep nothing.
    checkpoint_every : steps between checkpoints; one more is written at the end and at the time limit.
    config           : whatever else makes this run what it is; a checkpoint of another config is refused.
    minutes          : time limit of this call; then it stops cleanly with `history.finished` False.

    An interrupt (Ctrl-C, the notebook's stop button) lets the step end and writes a checkpoint before
    KeyboardInterrupt is raised; a second one does not wait.

    Returns the History. The networks end on the device, in eval mode.
    Raises NotFinite with step and loss, BadCheckpoint, ValueError for a part or network that is not there,
    one that learns in no turn, or fewer than no steps.
    """
    if steps < 0:
        raise ValueError(f"{steps} steps of {stage!r}; a training has none or more.")
    started = time.monotonic()
    averages = dict(averages or {})
    still = (*frozen, *averages)
    accelerator = accelerator_for(mixed_precision)
    with prepared(models, accelerator, still) as models, interrupts(accelerator) as interrupted:
        for average in averages.values():
            part(models, average.of)  # there, or an error before the first step
        own = {"learning_rate": learning_rate, "optimiser": optimiser, "schedule": schedule, "clip": clip}
        players = turns.players_of(turns.turns_of(step, models, **own), models, still, accelerator)
        round_ = turns.round_of(players, stage)  # one step, unless turns were given
        order = [(player.name, where) for player, where in round_]
        keeper = Keeper(
            checkpoint,
            models,
            {player.name: player.optimiser for player in players},
            accelerator,
            identity={
                "steps": str(steps),
                "seed": str(seed),
                "stage": stage,
                "precision": accelerator.mixed_precision,
                "networks": fingerprint({name: _shapes(net) for name, net in models.items()}),
                "still parts": fingerprint(still),
                "averages": fingerprint(averages),
                "config": fingerprint(config),
                **turns.identity(players),
            },
            order=order,
        )
        history, pending = keeper.resume()
        first, before, models.steps = history.step, history.seconds, steps
        quiet = not progress or not accelerator.is_main_process
        bar = tqdm(total=steps, initial=first, desc=stage, disable=quiet)

        for i in range(first, steps):
            if interrupted() or out_of_time(started, minutes, accelerator):
                break
            models.step = i
            for player, where in round_:
                set_modes(models, still)
                player.set_learning_rates(i, steps)
                generator = randomness(seed, where, i, accelerator.process_index)
                batch = on_device(batches(generator), accelerator.device)
                with player.alone():
                    losses = player.step(models, batch)
                    accelerator.backward(total(losses, i, where))
                average_gradients(player.groups, accelerator)
                player.clip_gradients(accelerator)
                player.optimiser.step()
                player.optimiser.zero_grad()
                pending.append(player.named(losses))
            for name, average in averages.items():
                average.update(models[name], models[average.of], i)

            history.step, history.seconds = i + 1, before + time.monotonic() - started
            bar.update()
            if history.step % log_every == 0 or history.step == steps:
                row = {"step": history.step, **mean_losses(pending, history.step, order)}
                history.rows.append({**row, "learning_rate": players[0].optimiser.param_groups[0]["lr"]})
                bar.set_postfix(loss=f"{row['loss']:.4g}")
                pending = []
            if history.step % checkpoint_every == 0 and history.step < steps:
                pending = list(keeper.save(history, pending))

        bar.close()
        if not history.finished:
            history.finished = history.step == steps
            if history.finished or history.step > first:
                keeper.save(history, pending)
        if interrupted():
            raise KeyboardInterrupt
    return history


def total(losses: Mapping[str, Tensor], step: int, stage: str) -> Tensor:
    """The sum of what a step minimises; raises ValueError where they are no scalars or train nothing."""
    where = f"step {step} of {stage!r}"
    losses = {name: loss for name, loss in losses.items() if not watched(name)}
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{where}: loss {name!r} is a {what}; return scalar tensors, weighted.")
    if not any(loss.requires_grad for loss in losses.values()):
        names = ", ".join(losses) or "none was returned"
        raise ValueError(f"{where}: no loss depends on a weight that learns ({names}).")
    return reduce(torch.add, (loss.reshape(()) for loss in losses.values()))


def _shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
