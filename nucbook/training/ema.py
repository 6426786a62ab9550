"""Teachers that follow their student: exponential moving averages of weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


@dataclass(frozen=True)
class Average:
    """A network that is the moving average of another (Tarvainen and Valpola 2017, Eq. 2).

    of      : name of the network it follows.
    decay   : fraction of the old average kept at each step, α.
    warm_up : whether the first steps weigh all weights so far alike, α_i = min(α, 1 − 1/(i+1)), as the
              paper's released code does: the random start is forgotten at once.
    """

    of: str
    decay: float = 0.99
    warm_up: bool = True

    def decay_at(self, step: int) -> float:
        """α of a step, counted from 0."""
        return min(self.decay, 1 - 1 / (step + 1)) if self.warm_up else self.decay

    @torch.no_grad()
    def update(self, teacher: nn.Module, student: nn.Module, step: int):
        """Move the teacher's parameters and float buffers; whole-number buffers are copied.

        Raises ValueError where the two are not built alike.
        """
        teachers = [*teacher.parameters(), *teacher.buffers()]
        students = [*student.parameters(), *student.buffers()]
        if [t.shape for t in teachers] != [s.shape for s in students]:
            raise ValueError(f"the average of {self.of!r} is built otherwise; make it with copy.deepcopy.")
        pairs = list(zip(teachers, students))
        floats = [(t, s) for t, s in pairs if t.is_floating_point()]
        move = get_ema_multi_avg_fn(self.decay_at(step))
        move([t for t, _ in floats], [s for _, s in floats], None)
        for t, s in pairs:
            if not t.is_floating_point():
                t.copy_(s)
