"""Training: one visible loop, averaged teachers, checkpoints, stages, profiles."""

from nucbook.training.checkpoint import BadCheckpoint
from nucbook.training.ema import Average
from nucbook.training.fit import History, NotFinite, fit
from nucbook.training.prepare import Models, device, randomness
from nucbook.training.schedules import Constant, Cosine, StepDecay

__all__ = [
    "Average",
    "BadCheckpoint",
    "Constant",
    "Cosine",
    "History",
    "Models",
    "NotFinite",
    "StepDecay",
    "device",
    "fit",
    "randomness",
]
