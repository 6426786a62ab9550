"""How likely each predicted nucleus is to be one: PIAC's priors (Lin et al. 2025, Sec. 3.3).

Five properties of a nucleus are looked up in densities of annotated nuclei of other data sets. What
scores low is taken out of the consistency loss, with its pixels.

Open in the paper, and what is done here:
- The bandwidth h of Eq. 4: Scott's rule, σ · N^(−1/5), for each property.
- The scale of Eq. 5, which adds densities of different units and compares their mean with τ = 0.35:
  each density is divided by its peak. A property then scores how common its value is beside the most
  common one, and τ asks for 35 % on average over the five. One property adds at most 0.2, so two at
  least must fit; of a Gaussian density 35 % is left at 1.45 standard deviations. A mean forgives: a
  straight line and a giant disc are solid, and pass where two more properties are not far off.
- The unit of the area, the perimeter, which bounding rectangle: see `properties`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import fftconvolve

from nucbook.data import SIMULATED
from nucbook.data.catalog import CATALOG, overlap
from nucbook.papers.ircr.properties import PROPERTIES, properties
from nucbook.sample import Sample

FEWEST = 20  # nuclei a density is fitted on
STEPS = 10  # of a table, in a bandwidth; between them it is linear
REACH = 5  # bandwidths beyond the extremes where a table ends


@dataclass(frozen=True, eq=False)
class Priors:
    """Tabulated densities of the five properties (Lin et al. 2025, Eqs. 4 and 5).

    values    : float64 (5, G), evenly spaced values of each property, in its unit.
    density   : float64 (5, G), Eq. 4 at those values, per unit; it integrates to 1.
    bandwidth : float64 (5,), h, in the unit of each property.
    count     : nuclei it was fitted on.
    sources   : data sets they are from.

    `asdict` makes plain data of it that a stage can return, and `Priors(**that)` is it again.
    """

    values: np.ndarray
    density: np.ndarray
    bandwidth: np.ndarray
    count: int
    sources: Sequence[str] = ()

    @classmethod
    def fit(cls, samples: Iterable[Sample], target: str | None, patients: Collection[str] = ()) -> Priors:
        """Densities of the annotated nuclei of other data sets than the one to be segmented.

        samples  : with masks, `mpp` and meta["dataset"]; nuclei that touch what is not `valid` are left out.
        target   : the data set to be segmented; None for images of one's own, in no set of the catalogue.
        patients : of a simulated target, those whose images are used (meta["patient"]); simulated images
                   of others are external to it.

        Raises ValueError where a sample shares images with the target or that cannot be known, or has no
        masks or no `mpp`, and what `fit_properties` raises.
        """
        if target is not None and target not in CATALOG and target not in SIMULATED:
            raise ValueError(f"no data set {target!r} in the catalogue; say None for images of your own.")
        rows, sources = [np.zeros((0, len(PROPERTIES)))], dict[str, None]()
        for sample in samples:
            _refuse_shared(sample, target, patients)
            if sample.mpp is None:
                raise ValueError(f"{sample.name}: its areas in µm² are unknown; give it an mpp.")
            labels = sample.label_map
            if sample.valid is not None:
                labels = np.where(np.isin(labels, labels[~sample.valid]), 0, labels)
            rows.append(properties(labels, sample.image, sample.mpp))
            sources[sample.meta["dataset"]] = None
        return cls.fit_properties(np.concatenate(rows), sources)

    @classmethod
    def fit_properties(cls, rows: ArrayLike, sources: Iterable[str] = ()) -> Priors:
        """Densities of rows (N, 5) as `properties` returns them; that they are external is not checked.

        Raises ValueError for fewer than 20 rows, for values that are not finite, and for a property that
        is the same in all rows.
        """
        rows = _checked(rows)
        if len(rows) < FEWEST:
            raise ValueError(f"{len(rows)} nuclei make no density; add images until there are {FEWEST}.")
        for name, column in zip(PROPERTIES, rows.T):
            if np.ptp(column) <= 1e-9 * np.abs(column).max():
                raise ValueError(f"{name} is {column[0]:g} in all nuclei: no density; add other images.")
        bandwidth = rows.std(0, ddof=1) * len(rows) ** -0.2
        low, high = rows.min(0) - REACH * bandwidth, rows.max(0) + REACH * bandwidth
        cells = int(np.ceil(STEPS * (high - low) / bandwidth).max())
        values = np.linspace(low, high, cells + 1, axis=1)
        density = [_density(*each) for each in zip(rows.T, bandwidth, values)]
        return cls(values, np.stack(density), bandwidth, len(rows), tuple(sources))

    def score(self, labels: np.ndarray, image: np.ndarray, mpp: float = 0.25) -> np.ndarray:
        """p(z) of every nucleus: Eq. 5, of densities divided by their peaks.

        Arguments and errors are those of `properties`.
        Returns float64 (N,) in [0, 1] in the order of the ids: 1 where all five values are the most
        common ones, 0 where none is like any seen.
        """
        return self.likelihoods(properties(labels, image, mpp)).mean(1)

    def likelihoods(self, rows: ArrayLike) -> np.ndarray:
        """Density over its peak of each property, float64 (N, 5) in [0, 1]; 0 outside the table.

        rows : float (N, 5) as `properties` returns them. Raises ValueError for values that are not finite.
        """
        heights = self.density / self.density.max(1, keepdims=True)
        each = zip(_checked(rows).T, self.values, heights)
        return np.column_stack([np.interp(x, table, height, left=0, right=0) for x, table, height in each])


def _density(samples: np.ndarray, bandwidth: float, values: np.ndarray) -> np.ndarray:
    """Eq. 4 at evenly spaced values: samples are shared out between their two neighbours, then blurred."""
    step = values[1] - values[0]
    place = (samples - values[0]) / step
    left = place.astype(np.int64)
    counts = np.bincount(left, 1 - (place - left), len(values))
    counts += np.bincount(left + 1, place - left, len(values))
    reach = int(REACH * bandwidth / step)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / bandwidth) ** 2)
    blurred = fftconvolve(counts, kernel / kernel.sum(), "same")
    return np.maximum(blurred, 0) / (len(samples) * step)


# -- the door ------------------------------------------------------------------------------------


def _checked(rows: ArrayLike) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(PROPERTIES):
        raise ValueError(f"rows are {rows.shape}, expected (N, 5): {', '.join(PROPERTIES)}.")
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise ValueError(f"{PROPERTIES[column]} of row {row} is {rows[row, column]}; leave that nucleus out.")
    return rows


def _refuse_shared(sample: Sample, target: str | None, patients: Collection[str]):
    source, patient = sample.meta.get("dataset"), sample.meta.get("patient")
    reason = overlap(source, target) if source in CATALOG and target in CATALOG else ""
    if source not in CATALOG and source not in SIMULATED:
        reason = 'Nothing is known of that set; put a name of nucbook.data.catalog in meta["dataset"].'
    if source == target and source in SIMULATED and (not patients or patient in patients):
        reason = f"Patient {patient} is the target's, or may be: say which `patients` are."
    if reason:
        raise ValueError(
            f"{sample.name}: a prior from {source!r} is not external to {target!r}. {reason} "
            "Fit on sets that share no image with the target (nucbook.data.catalog.overlap)."
        )
