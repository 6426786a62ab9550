"""What happened in a training: its losses, step by step, and the error where one is no number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

Losses = Mapping[str, Tensor | float]  # of one optimiser step, by name


class NotFinite(ArithmeticError):
    """A loss became infinite or NaN; the message names the step and the loss."""


@dataclass
class History:
    """What happened in a training.

    rows     : one dict every `log_every` steps: step, the mean of each loss since the row before ("turn/loss"
               where there are turns), their sum as "loss", learning_rate (of the first turn), and the mean of
               each "watched/…" value.
    step     : optimiser steps done; rounds, where there are turns.
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


def watched(name: str) -> bool:
    """Whether a value of this name is kept in the history alone, and not minimised: "watched/…"."""
    return "/watched/" in f"/{name}"  # after its turn, where there are turns


def mean_losses(pending: Sequence[Losses], last: int, order: Sequence[tuple[str, str]]) -> dict[str, float]:
    """The mean of each loss over the optimiser steps that had it; "loss" is the mean total, added over turns.

    pending : losses of each optimiser step of the last rounds.
    last    : rounds done.
    order   : (turn, stage of its random numbers) of each optimiser step of a round.

    Raises NotFinite. Looked at every few steps only, since each look makes a GPU wait; it still names
    the step.
    """
    numbers = as_numbers(pending)
    first = last - len(numbers) // len(order)
    for k, losses in enumerate(numbers):
        step, (_, stage) = first + k // len(order), order[k % len(order)]
        for name, value in losses.items():
            if not math.isfinite(value) and not watched(name):
                raise NotFinite(
                    f"step {step} of {stage!r}: loss {name!r} is {value}; lower the learning rate, clip "
                    f"gradients, or look at its batch: batches(randomness(seed, {stage!r}, {step}))."
                )
    names = dict.fromkeys(name for losses in numbers for name in losses)
    columns = {name: [losses[name] for losses in numbers if name in losses] for name in names}
    totals: dict[str, list[float]] = {turn: [] for turn, _ in order}
    for k, losses in enumerate(numbers):
        totals[order[k % len(order)][0]].append(
            math.fsum(value for name, value in losses.items() if not watched(name))
        )
    mean = lambda column: math.fsum(column) / len(column)
    return {"loss": math.fsum(map(mean, totals.values())), **{name: mean(columns[name]) for name in names}}


def as_numbers(pending: Sequence[Losses]) -> list[dict[str, float]]:
    """Losses as floats, brought from the device in one go."""
    losses_so_far = [loss for losses in pending for loss in losses.values()]
    tensors = [loss.reshape(()).float() for loss in losses_so_far if isinstance(loss, Tensor)]
    values = iter(torch.stack(tensors).tolist() if tensors else [])
    number = lambda loss: next(values) if isinstance(loss, Tensor) else loss
    return [{name: number(loss) for name, loss in losses.items()} for losses in pending]
