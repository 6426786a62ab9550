"""Model selection: keep the weights with the best validation score so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn


@dataclass(frozen=True)
class Best:
    """A copy of a network with its best validation score so far; stands among `averages` of `fit`.

    of    : name of the network it is a copy of.
    score : network in eval mode -> its validation score, higher is better. It must draw no random numbers.
    every : steps between validations. The last weights count where the number of steps is a multiple.
    """

    of: str
    score: Callable[[nn.Module], float]
    every: int

    @cached_property
    def _best(self) -> list[float]:
        """The best score so far; empty before the first. No field: it is no part of a run's name."""
        return []

    def update(self, best: nn.Module, network: nn.Module, step: int):
        """Validate `network` after a step, counted from 0, and copy its weights if it is better."""
        if (step + 1) % self.every:
            return
        training = network.training
        network.eval()
        score = self.score(network)
        network.train(training)
        if step + 1 > self.every and not self._best:  # resumed: the copy is there, its score is not
            self._best.append(self.score(best))
        if not self._best or score > self._best[0]:
            with torch.no_grad():
                best.load_state_dict(network.state_dict())
            self._best[:] = [score]
