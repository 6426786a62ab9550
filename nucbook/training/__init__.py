"""Training: one visible loop, averaged teachers, checkpoints, stages, profiles."""

from nucbook.training.checkpoint import BadCheckpoint
from nucbook.training.ema import Average
from nucbook.training.fit import fit
from nucbook.training.history import History, NotFinite
from nucbook.training.prepare import Models, device, randomness
from nucbook.training.schedules import Constant, Cosine, StepDecay
from nucbook.training.turns import Turn

__all__ = [
    "Average",
    "BadCheckpoint",
    "Constant",
    "Cosine",
    "History",
    "Models",
    "NotFinite",
    "StepDecay",
    "Turn",
    "device",
    "fit",
    "randomness",
]
