"""Saves and resumes a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from nucbook.training import checkpoint as checkpoints
from nucbook.training.history import History, Losses, as_numbers, mean_losses
from nucbook.training.prepare import Models


@dataclass
class Keeper:
    """Saves and resumes a training; does nothing where `folder` is None.

    optimisers : {turn: optimiser}; the one turn of a plain training is "".
    identity   : what the run is, see `checkpoint.save`.
    order      : (turn, stage) of each optimiser step of a round, see `mean_losses`.
    """

    folder: str | Path | None
    models: Models
    optimisers: Mapping[str, torch.optim.Optimizer]
    accelerator: Accelerator
    identity: Mapping[str, str]
    order: Sequence[tuple[str, str]]

    def resume(self) -> tuple[History, list[Losses]]:
        """The history so far and the losses since its last row; weights and optimisers are put back."""
        found = None if self.folder is None else checkpoints.load(self.folder, self.identity)
        if found is None:
            return History(), []
        tensors, rest = found
        checkpoints.unpack(tensors, rest, self.models, self.optimisers)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(rest["scaler"])
        return History(**rest["history"]), rest["pending"]

    def save(self, history: History, pending: Sequence[Losses]) -> list[dict[str, float]]:
        """Write a checkpoint and return the losses since the last row as numbers; raises NotFinite instead of
        keeping weights that such a loss has spoilt."""
        if pending:
            mean_losses(pending, history.step, self.order)
        numbers = as_numbers(pending)
        if self.folder is not None and self.accelerator.is_main_process:
            tensors, rest = checkpoints.pack(self.models, self.optimisers)
            rest |= {"history": asdict(history), "pending": numbers}
            if self.accelerator.scaler is not None:
                rest["scaler"] = self.accelerator.scaler.state_dict()
            checkpoints.save(self.folder, tensors, rest, self.identity)
        self.accelerator.wait_for_everyone()
        return numbers
