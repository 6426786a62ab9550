"""Learning-rate schedules: pure functions of the step, so that a resumed run needs no memory of them.

Each is called as `schedule(step, steps)`, steps counted from 0, and returns the factor on the learning rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Constant:
    """The same learning rate throughout, after `warm_up` steps of linear rise."""

    warm_up: int = 0  # steps

    def __call__(self, step: int, steps: int) -> float:
        return _rise(step, self.warm_up)


@dataclass(frozen=True)
class Cosine:
    """A linear rise over `warm_up` steps, then half a cosine down to `floor`.

    Loshchilov and Hutter 2017, Eq. 5, without restarts.
    """

    warm_up: int = 0  # steps
    floor: float = 0.0  # factor at the end

    def __call__(self, step: int, steps: int) -> float:
        if step < self.warm_up:
            return _rise(step, self.warm_up)
        done = (step - self.warm_up) / max(steps - self.warm_up, 1)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


@dataclass(frozen=True)
class StepDecay:
    """Multiply by `factor` at each milestone; milestones are fractions of the training, as (0.5, 0.75)."""

    milestones: tuple[float, ...] = (0.5,)
    factor: float = 0.1
    warm_up: int = 0  # steps

    def __call__(self, step: int, steps: int) -> float:
        passed = sum(step >= fraction * steps for fraction in self.milestones)
        return _rise(step, self.warm_up) * self.factor**passed


def _rise(step: int, warm_up: int) -> float:
    return min((step + 1) / (warm_up + 1), 1.0)
