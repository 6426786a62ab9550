"""Fractions and means that may be undefined: NaN says so, and never a division error."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np


def ratio(part: float, whole: float) -> float:
    """part / whole as a float, NaN where there is no whole."""
    return float(part / whole) if whole else math.nan


def mean_of_defined(values: Iterable[float]) -> float:
    """Mean of what is not NaN; NaN where nothing is left."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
