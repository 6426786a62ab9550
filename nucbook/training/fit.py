"""The training loop of the whole book: one function, to be read from top to bottom."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm.auto import tqdm

from nucbook.fingerprint import fingerprint
from nucbook.training import checkpoint as checkpoints
from nucbook.training.ema import Average
from nucbook.training.prepare import (
    Models,
    accelerator_for,
    average_gradients,
    on_device,
    parameter_groups,
    part,
    prepared,
    randomness,
    set_modes,
)
from nucbook.training.schedules import Constant

Step = Callable[[Models, Any], Mapping[str, Tensor]]
Batches = Callable[[torch.Generator], Any]


class NotFinite(ArithmeticError):
    """A loss became infinite or NaN; the message names the step and the loss."""


@dataclass
class History:
    """What happened in a training.

    rows     : one dict every `log_every` steps: step, the mean of each loss since the row before,
               their sum as "loss", learning_rate.
    step     : optimiser steps done.
    finished : whether that is all of them; False where the time limit came first.
    seconds  : time spent, over all resumptions.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    step: int = 0
    finished: bool = False
    seconds: float = 0.0

    def frame(self) -> pd.DataFrame:
        """The rows as a table, indexed by step."""
        return pd.DataFrame(self.rows, columns=None if self.rows else ["step", "loss"]).set_index("step")


def fit(
    step: Step,
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
    models           : {name: network}; all weights learn but for `frozen` and `averages`.
    batches          : `batches(generator) -> batch`, called once a step with a fresh CPU generator. Its
                       numbers, and torch's global ones, follow from (seed, stage, step, process) alone.
    learning_rate    : one, or {dotted prefix of parameter names: rate}, "" for the rest.
    optimiser        : parameter groups -> optimiser, as `functools.partial(torch.optim.SGD, momentum=0.9)`.
    schedule         : factor on the learning rates, from `nucbook.training.schedules`.
    clip             : largest norm of the gradient of all parameters together, or None.
    frozen           : dotted names of networks or parts that stand still: no gradient, eval mode.
    averages         : {teacher: Average(of=student)}: networks that follow another, in eval mode unless the
                       step sets them otherwise.
    mixed_precision  : "no", "bf16" or "fp16"; None takes what `accelerate launch` was told.
    checkpoint       : folder of its own, or None to keep nothing.
    checkpoint_every : steps between checkpoints; one more is written at the end and at the time limit.
    config           : whatever else makes this run what it is; a checkpoint of another config is refused.
    minutes          : time limit of this call; then it stops cleanly with `history.finished` False.

    An interrupt (Ctrl-C, the notebook's stop button) lets the step end and writes a checkpoint before
    KeyboardInterrupt is raised; a second one does not wait.

    Returns the History. The networks end on the device, in eval mode.
    Raises NotFinite with step and loss, BadCheckpoint, ValueError for a part or network that is not there,
    or fewer than no steps.
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
        groups = parameter_groups(models, learning_rate)
        parameters = [p for group in groups for p in group["params"]]
        base_rates = [group["lr"] for group in groups]
        optimiser = accelerator.prepare_optimizer(optimiser(groups))
        keeper = Keeper(
            checkpoint,
            models,
            optimiser,
            accelerator,
            identity={
                "steps": str(steps),
                "seed": str(seed),
                "stage": stage,
                "precision": accelerator.mixed_precision,
                "networks": fingerprint({name: _shapes(net) for name, net in models.items()}),
                "optimiser": fingerprint(type(optimiser.optimizer), optimiser.defaults),
                "learning rate": fingerprint(learning_rate),
                "schedule": fingerprint(schedule),
                "clip": fingerprint(clip),
                "still parts": fingerprint(still),
                "averages": fingerprint(averages),
                "config": fingerprint(config),
            },
        )
        history, pending = keeper.resume()
        first, before, models.steps = history.step, history.seconds, steps
        quiet = not progress or not accelerator.is_main_process
        bar = tqdm(total=steps, initial=first, desc=stage, disable=quiet)

        for i in range(first, steps):
            if interrupted() or _out_of_time(started, minutes, accelerator):
                break
            models.step = i
            set_modes(models, still)
            for group, rate in zip(optimiser.param_groups, base_rates):
                group["lr"] = rate * schedule(i, steps)

            generator = randomness(seed, stage, i, accelerator.process_index)
            losses = step(models, on_device(batches(generator), accelerator.device))
            accelerator.backward(total(losses, i, stage))
            average_gradients(groups, accelerator)
            if clip is not None:
                accelerator.clip_grad_norm_(parameters, clip)
            optimiser.step()
            optimiser.zero_grad()
            for name, average in averages.items():
                average.update(models[name], models[average.of], i)

            pending.append({name: loss.detach() for name, loss in losses.items()})
            history.step, history.seconds = i + 1, before + time.monotonic() - started
            bar.update()
            if history.step % log_every == 0 or history.step == steps:
                row = {"step": history.step, **mean_losses(pending, history.step, stage)}
                history.rows.append({**row, "learning_rate": optimiser.param_groups[0]["lr"]})
                bar.set_postfix(loss=f"{row['loss']:.4g}")
                pending = []
            if history.step % checkpoint_every == 0 and history.step < steps:
                pending = keeper.save(history, pending)

        bar.close()
        if not history.finished:
            history.finished = history.step == steps
            if history.finished or history.step > first:
                keeper.save(history, pending)
        if interrupted():
            raise KeyboardInterrupt
    return history


def total(losses: Mapping[str, Tensor], step: int, stage: str) -> Tensor:
    """The sum of a step's losses; raises ValueError where they are no scalars or train nothing."""
    where = f"step {step} of {stage!r}"
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"{where}: loss {name!r} is a {what}; return scalar tensors, weighted.")
    if not any(loss.requires_grad for loss in losses.values()):
        names = ", ".join(losses) or "none was returned"
        raise ValueError(f"{where}: no loss depends on a weight that learns ({names}).")
    return sum(loss.reshape(()) for loss in losses.values())


def mean_losses(pending: Sequence[Mapping[str, Tensor]], last: int, stage: str) -> dict[str, float]:
    """The mean of each loss over the steps that had it, and of their sums; raises NotFinite.

    Looked at every few steps only, since each look makes a GPU wait; it still names the step.
    """
    numbers = as_numbers(pending)
    for i, losses in enumerate(numbers, start=last - len(numbers)):
        for name, value in losses.items():
            if not math.isfinite(value):
                raise NotFinite(
                    f"step {i} of {stage!r}: loss {name!r} is {value}; lower the learning rate, clip "
                    f"gradients, or look at its batch: batches(randomness(seed, {stage!r}, {i}))."
                )
    names = dict.fromkeys(name for losses in numbers for name in losses)
    columns = {name: [losses[name] for losses in numbers if name in losses] for name in names}
    means = {name: math.fsum(column) / len(column) for name, column in columns.items()}
    return {"loss": math.fsum(math.fsum(losses.values()) for losses in numbers) / len(numbers), **means}


def as_numbers(pending: Sequence[Mapping[str, Tensor | float]]) -> list[dict[str, float]]:
    """Losses as floats, brought from the device in one go."""
    losses_so_far = [loss for losses in pending for loss in losses.values()]
    tensors = [loss.reshape(()).float() for loss in losses_so_far if isinstance(loss, Tensor)]
    values = iter(torch.stack(tensors).tolist() if tensors else [])
    number = lambda loss: next(values) if isinstance(loss, Tensor) else loss
    return [{name: number(loss) for name, loss in losses.items()} for losses in pending]


def _shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


@contextmanager
def interrupts(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Whether the user has asked to stop, as a function; the second request is KeyboardInterrupt at once.

    Only where one process trains, in the main thread, and interrupts are not ignored (`nohup`).
    """
    asked, before = threading.Event(), signal.getsignal(signal.SIGINT)
    alone = accelerator.num_processes == 1 and threading.current_thread() is threading.main_thread()
    if not alone or before in (signal.SIG_IGN, None):
        yield asked.is_set
        return

    def ask(*_: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _out_of_time(started: float, minutes: float | None, accelerator: Accelerator) -> bool:
    if minutes is None:
        return False
    late = time.monotonic() - started >= 60 * minutes
    if accelerator.num_processes > 1:  # all stop together, or none
        late = bool(accelerator.reduce(torch.tensor(float(late), device=accelerator.device), "max"))
    return late


@dataclass
class Keeper:
    """Saves and resumes a training; does nothing where `folder` is None."""

    folder: str | Path | None
    models: Models
    optimiser: torch.optim.Optimizer
    accelerator: Accelerator
    identity: dict[str, str]

    def resume(self) -> tuple[History, list[dict[str, float]]]:
        """The history so far and the losses since its last row; weights and optimiser are put back."""
        found = None if self.folder is None else checkpoints.load(self.folder, self.identity)
        if found is None:
            return History(), []
        tensors, rest = found
        checkpoints.unpack(tensors, rest, self.models, self.optimiser)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(rest["scaler"])
        return History(**rest["history"]), rest["pending"]

    def save(self, history: History, pending: Sequence[Mapping[str, Tensor]]) -> list[dict[str, float]]:
        """Write a checkpoint and return the losses since the last row as numbers; raises NotFinite instead of
        keeping weights that such a loss has spoilt."""
        if pending:
            mean_losses(pending, history.step, self.identity["stage"])
        numbers = as_numbers(pending)
        if self.folder is not None and self.accelerator.is_main_process:
            tensors, rest = checkpoints.pack(self.models, self.optimiser)
            rest |= {"history": asdict(history), "pending": numbers}
            if self.accelerator.scaler is not None:
                rest["scaler"] = self.accelerator.scaler.state_dict()
            checkpoints.save(self.folder, tensors, rest, self.identity)
        self.accelerator.wait_for_everyone()
        return numbers
