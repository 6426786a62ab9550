"""Turns: a generator and its critics learn one after the other, each with an optimiser of its own.

fit({"critic": Turn(critic_step, ["critic"], repeats=5, learning_rate=1e-4, optimiser=adam),
     "generator": Turn(generator_step, ["generator"], learning_rate=1e-4, optimiser=adam)},
    {"generator": Generator(), "critic": Critic()}, batches, steps=config.rounds)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from nucbook.fingerprint import fingerprint
from nucbook.training.prepare import Models, parameter_groups, part
from nucbook.training.schedules import Constant

Step = Callable[[Models, Any], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Turn:
    """One player's turn: what learns in it, from which losses, how often and how.

    step          : `step(models, batch) -> {name: weighted loss}`.
    parts         : dotted names of the networks or parts that learn ("critic", "unet.decoder"); a part may
                    learn in several turns, by the optimiser of each.
    repeats       : optimiser steps in a round, each on a batch of its own.
    learning_rate : one, or {dotted prefix of parameter names: rate}, "" for the rest.
    optimiser     : parameter groups -> optimiser.
    schedule      : factor on the learning rates, by the round.
    clip          : largest norm of the gradient of all its parameters together, or None.

    What does not learn in a turn gets no gradient, but passes it on to its input: so a critic teaches its
    generator. It stays in train mode, for each player must meet the other as the other plays: normalised
    over the batch, with dropout. Its buffers (running statistics) are put back afterwards: they are averages
    of its own turns.
    """

    step: Step
    parts: Sequence[str]
    repeats: int = 1
    learning_rate: float | Mapping[str, float] = 1e-3
    optimiser: Callable[[list[dict[str, Any]]], torch.optim.Optimizer] = torch.optim.AdamW
    schedule: Callable[[int, int], float] = Constant()  # noqa: RUF009 (it is frozen)
    clip: float | None = None

    def __post_init__(self):
        if isinstance(self.parts, str) or not self.parts:
            raise ValueError(f"parts = {self.parts!r}: a turn takes the names of what learns, as ['critic'].")
        if self.repeats < 1:
            raise ValueError(f"{self.repeats} repeats of a turn; it has one or more, or leave it out.")


class Player:
    """A turn of a training: its parameters, their optimiser, and all that it leaves alone."""

    def __init__(self, name: str, turn: Turn, models: Models, still: Sequence[str], accelerator: Accelerator):
        self.name, self.turn, self.step = name, turn, turn.step
        own = [part(models, name) for name in turn.parts]
        parameters = {p for net in own for p in net.parameters()}
        learning = dict.fromkeys(p for net in models.values() for p in net.parameters() if p.requires_grad)
        self._others = [p for p in learning if p not in parameters]
        moving = {b for net in (*own, *(part(models, name) for name in still)) for b in net.buffers()}
        self._kept = [
            b for b in dict.fromkeys(b for net in models.values() for b in net.buffers()) if b not in moving
        ]
        with self.alone():
            self.groups = parameter_groups(models, turn.learning_rate)
        self._parameters = [p for group in self.groups for p in group["params"]]
        self._rates = [group["lr"] for group in self.groups]
        self.optimiser = accelerator.prepare_optimizer(turn.optimiser(self.groups))

    def set_learning_rates(self, step: int, steps: int):
        """Those of a round."""
        for group, rate in zip(self.optimiser.param_groups, self._rates):
            group["lr"] = rate * self.turn.schedule(step, steps)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Meanwhile nothing else learns; the others' buffers are put back afterwards."""
        before = [buffer.clone() for buffer in self._kept]
        for p in self._others:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in self._others:
                p.requires_grad_(True)
            for buffer, values in zip(self._kept, before):
                buffer.copy_(values)

    def clip_gradients(self, accelerator: Accelerator):
        """Shorten the gradient of its parameters to at most `clip`."""
        if self.turn.clip is not None:
            accelerator.unscale_gradients(self.optimiser)  # its own alone: parts in two turns, once (float16)
            nn.utils.clip_grad_norm_(self._parameters, self.turn.clip)

    def named(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Losses as the history calls them, without their graphs."""
        start = f"{self.name}/" if self.name else ""
        return {f"{start}{name}": loss.detach() for name, loss in losses.items()}


def turns_of(step: Step | Mapping[str, Turn], models: Models, **settings: Any) -> dict[str, Turn]:
    """The turns of a training: those given, or one, "", in which everything learns.

    settings : learning_rate, optimiser, schedule, clip of that one.
    Raises ValueError for no turns, a name that is none, settings beside turns.
    """
    if not isinstance(step, Mapping):
        return {"": Turn(step, tuple(models), **settings)}
    if not step:
        raise ValueError("no turns; give {name: Turn(…)}, or a step.")
    for name in step:
        if not name.isidentifier():
            raise ValueError(f"no turn can be called {name!r}; take a plain name, as 'critic'.")
    for name, value in settings.items():
        if value != getattr(Turn, name):
            raise ValueError(f"{name} beside turns; each Turn has its own.")
    return dict(step)


def players_of(
    turns: Mapping[str, Turn], models: Models, still: Sequence[str], accelerator: Accelerator
) -> list[Player]:
    """A player for each turn; raises ValueError where something learns in none of them."""
    learnt = {p for turn in turns.values() for name in turn.parts for p in part(models, name).parameters()}
    for root, net in models.items():
        for key, p in net.named_parameters():
            if p.requires_grad and p not in learnt:
                raise ValueError(
                    f"'{root}.{key}' learns in no turn; name it in the parts of one, or freeze it."
                )
    return [Player(name, turn, models, still, accelerator) for name, turn in turns.items()]


def round_of(players: Sequence[Player], stage: str) -> list[tuple[Player, str]]:
    """Who makes each optimiser step of a round, and the stage of its random numbers, in order.

    Each has numbers of its own; a round of one step draws what a training without turns draws.
    """
    steps = [(player, f"{stage}/{player.name}/{i}") for player in players for i in range(player.turn.repeats)]
    return steps if len(steps) > 1 else [(players[0], stage)]


def identity(players: Sequence[Player]) -> dict[str, str]:
    """What the turns are, part by part, for the identity of a run."""
    settings = {
        "optimiser": lambda player: (type(player.optimiser.optimizer), player.optimiser.defaults),
        "learning rate": lambda player: (player.turn.learning_rate,),
        "schedule": lambda player: (player.turn.schedule,),
        "clip": lambda player: (player.turn.clip,),
    }
    if not players[0].name:
        return {key: fingerprint(*of(players[0])) for key, of in settings.items()}
    settings["turns"] = lambda player: (player.turn.parts, player.turn.repeats)
    return {
        key: fingerprint(*((player.name, *of(player)) for player in players)) for key, of in settings.items()
    }
