"""Model selection: keep the weights that were best so far, by a judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn


@dataclass(frozen=True)
class Best:
    """A network that is another one as it was when a judge liked it best; stands among `averages` of `fit`.

    of    : name of the network it is a copy of.
    judge : network in eval mode -> its worth, higher is better. It must draw no random numbers.
    every : steps between judgements. The last weights count where the number of steps is a multiple.
    """

    of: str
    judge: Callable[[nn.Module], float]
    every: int

    @cached_property
    def _worth(self) -> list[float]:
        """Of the best so far; empty before the first judgement. No field: it is no part of a run's name."""
        return []

    def update(self, best: nn.Module, network: nn.Module, step: int):
        """Judge `network` after a step, counted from 0, and copy its weights if it is better."""
        if (step + 1) % self.every:
            return
        training = network.training
        network.eval()
        worth = self.judge(network)
        network.train(training)
        if step + 1 > self.every and not self._worth:  # resumed: the copy is there, its worth is not
            self._worth.append(self.judge(best))
        if not self._worth or worth > self._worth[0]:
            with torch.no_grad():
                best.load_state_dict(network.state_dict())
            self._worth[:] = [worth]
