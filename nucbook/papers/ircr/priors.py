"""How likely each predicted nucleus is to be one: PIAC's priors (Lin et al. 2025, Sec. 3.3).

Five properties of a nucleus are looked up in densities of annotated nuclei of other data sets. What
scores low is taken out of the consistency loss, with its pixels.

Open in the paper, and what is done here:
- The bandwidth h of Eq. 4: Scott's rule, σ · N^(−1/5), for each property.
- The scale of Eq. 5, which adds densities of different units and compares their mean with τ = 0.35:
  each density is divided by its peak. A property then says how common its value is beside the most
  common one, and τ asks for 35 % on average over the five. One property adds at most 0.2, so two at
  least must fit; of a Gaussian density 35 % is left at 1.45 standard deviations. A mean forgives: a
  straight line and a giant disc are solid, and pass where two more properties are not far off.
- The unit of the area, the perimeter, which bounding rectangle: see `properties`. Of a nucleus cut by
  the rim of the image what is seen counts, in the fit as in the score.
- Eq. 6 gives w to the background too, in one map, which Eq. 7 indexes by instance: one map, used once.
- The reduction of Eq. 7 and what F is: means over pixels, sums over maps, of
  probabilities; zero where nothing was found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import fftconvolve
from skimage.color import hed_from_rgb
from torch import Tensor

from nucbook.data import SIMULATED
from nucbook.data.catalog import CATALOG, overlap
from nucbook.sample import Sample

PROPERTIES = ("area", "solidity", "circularity", "haematoxylin", "extent")
FEWEST = 20  # nuclei a density is fitted on
STEPS = 10  # of a table, in a bandwidth; between them it is linear
REACH = 5  # bandwidths beyond the extremes where a table ends

# What a grey level of red, green and blue says of haematoxylin: float32 (1, 256, 3), optical density.
_DENSITY = -np.log10(np.maximum(np.arange(256), 1) / 255)[None, :, None] * hed_from_rgb[:, 0]
_DENSITY = _DENSITY.astype(np.float32)


def properties(labels: np.ndarray, image: np.ndarray, mpp: float = 0.25) -> np.ndarray:
    """Five properties of every nucleus, all at once (Lin et al. 2025, Table 1).

    labels : int (H, W), 0 = background, ids need not be contiguous; image : uint8 (H, W, 3), RGB.
    mpp    : µm per pixel; 0.25 is a 40× scan.

    Returns float64 (N, 5), a row a nucleus in the order of the ids, columns as in `PROPERTIES`:
    area         : µm², so that scans of 20× and 40× can be mixed.
    solidity     : its pixels / those whose centre lies in the convex hull of its centres, in (0, 1].
    circularity  : 4π · area / perimeter², Crofton's perimeter in four directions, with holes and the
                   rim of the image. 1 for a large disc, less for what is long or ragged; of a few
                   pixels the perimeter is too short (one pixel: 1.75).
    haematoxylin : mean over its pixels, optical density (log10), of Ruifrok and Johnston's stain (2001);
                   less than none counts as none.
    extent       : its pixels / those of its upright bounding box, in (0, 1].

    Raises ValueError for other types and shapes, negative ids, and an `mpp` that is not positive.
    """
    _check(labels, image, mpp)
    runs = _runs(labels)
    if not len(runs.ids):
        return np.zeros((0, len(PROPERTIES)))
    top, left = np.divmod(runs.start, labels.shape[1])
    right = left + runs.length - 1
    over = lambda how, values: how.reduceat(values, runs.first)
    pixels = over(np.add, runs.length)
    height = over(np.maximum, top) - over(np.minimum, top) + 1
    width = over(np.maximum, right) - over(np.minimum, left) + 1
    inside = np.flatnonzero(runs.ranks > 0)
    stain = cv2.LUT(image.reshape(1, -1, 3).take(inside, 1), _DENSITY)
    stain = cv2.transform(stain, np.ones((1, 3), np.float32)).ravel()  # the sum of the three
    stain = np.bincount(runs.ranks.ravel().take(inside), np.maximum(stain, 0))[1:]
    columns = [
        pixels * mpp**2,
        pixels / _hull_pixels(np.column_stack([left, top, right, top]), runs.first),
        4 * np.pi * pixels / _perimeters(runs.ranks) ** 2,
        stain / pixels,
        pixels / (height * width),
    ]
    return np.column_stack(columns)


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
        rows, sources = [np.zeros((0, len(PROPERTIES)))], {}
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
        shares = self.density / self.density.max(1, keepdims=True)
        each = zip(_checked(rows).T, self.values, shares)
        return np.column_stack([np.interp(x, table, share, left=0, right=0) for x, table, share in each])


def weight_map(labels: np.ndarray, scores: ArrayLike, threshold=0.35, weight=2.0) -> np.ndarray:
    """U: 0 in nuclei that score below τ, w in the others and in the background (Lin et al. 2025, Eq. 6).

    labels    : int (H, W), 0 = background; scores : float (N,) in the order of the ids.
    threshold : τ, no unit; weight : w. Both Sec. 3.3.
    Returns float32 (H, W); 0 everywhere where there is no nucleus, for then Eq. 7 has nothing to sum.
    Raises ValueError for NaN, and where scores and nuclei are not as many.
    """
    scores, runs = np.asarray(scores, np.float64), _runs(labels)
    if scores.shape != runs.ids.shape or np.isnan(scores).any():
        raise ValueError(f"scores {scores.shape} of {len(runs.ids)} nuclei; give each one that is not NaN.")
    of = weight * np.concatenate([[len(scores) > 0], scores >= threshold])
    return of.astype(np.float32)[runs.ranks]


def piac_loss(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Draw the student to the teacher, except where a nucleus cannot be trusted (Lin et al. 2025, Eq. 7).

    student, teacher : float (B, C, H, W), `baselines.hovernet.feature_maps`.
    weights          : float (B, H, W), `weight_map` of the teacher's instances in the same images.
    Returns a scalar >= 0, the sum over maps, the mean over images and pixels; 0 (with gradient) where all
    weights are. The gradient reaches the student alone. As printed, U stands inside the square: w = 2
    counts fourfold.
    """
    return (weights.detach()[:, None] * (student - teacher.detach())).square().sum(1).mean()


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


# -- label maps, run by run ----------------------------------------------------------------------


class _Runs(NamedTuple):
    """Pixels of one id side by side in a row: those of all nuclei, nucleus by nucleus, from top to bottom."""

    ids: np.ndarray  # (N,), rising
    first: np.ndarray  # (N,), the first run of each
    start: np.ndarray  # (R,), first pixel, counted in reading order
    length: np.ndarray  # (R,), pixels
    ranks: np.ndarray  # int32 (H, W), the label map with ids 1 to N


def _runs(labels: np.ndarray) -> _Runs:
    fresh = np.ones(labels.shape, bool)
    fresh[:, 1:] = labels[:, 1:] != labels[:, :-1]
    start = np.flatnonzero(fresh)
    length = np.diff(start, append=labels.size)
    of = labels.ravel()[start]
    order = np.argsort(of, kind="stable")[np.count_nonzero(of == 0) :]  # background is first
    first = np.flatnonzero(np.diff(of[order], prepend=0))
    rank = np.zeros(len(of), np.int32)
    rank[order] = np.repeat(np.arange(1, len(first) + 1), np.diff(first, append=len(order)))
    ranks = np.repeat(rank, length).reshape(labels.shape)
    return _Runs(of[order[first]], first, start[order], length[order], ranks)


def _perimeters(ranks: np.ndarray) -> np.ndarray:
    """float64 (N,), pixels: how often lines in four directions cross each outline (Crofton's formula)."""
    width = ranks.shape[1] + 2
    flat = np.pad(ranks, 1).ravel()  # padded, so that no line runs on into the next row
    crossings = 0
    for step, spacing in ((1, 1), (width, 1), (width - 1, 0.5**0.5), (width + 1, 0.5**0.5)):
        at = np.flatnonzero(flat[step:] != flat[:-step])
        crossings = crossings + spacing * np.bincount(np.concatenate([flat[at], flat[at + step]]))
    return np.pi / 8 * crossings[1:]


def _hull_pixels(ends: np.ndarray, first: np.ndarray) -> np.ndarray:
    """int64 (N,): pixels in the hulls of runs whose ends are (x, y, x, y), (R, 4), by Pick's theorem."""
    points = ends.astype(np.int32).reshape(-1, 2)
    bounds = pairwise([*(2 * first).tolist(), len(points)])
    hulls = [cv2.convexHull(points[i:j])[:, 0] for i, j in bounds]  # (corners, 2) each
    corners = np.concatenate(hulls).astype(np.int64)
    begin = np.cumsum([0, *map(len, hulls)])
    following = np.arange(1, len(corners) + 1)
    following[begin[1:] - 1] = begin[:-1]
    (x, y), (x2, y2) = corners.T, corners[following].T
    twice_area = np.abs(np.add.reduceat(x * y2 - x2 * y, begin[:-1]))
    return (twice_area + np.add.reduceat(np.gcd(x2 - x, y2 - y), begin[:-1])) // 2 + 1


# -- the door ------------------------------------------------------------------------------------


def _check(labels: np.ndarray, image: np.ndarray, mpp: float):
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        wanted = "wanted (H, W) of whole numbers from 0 on; pass them through nucbook.sample.to_instances."
        raise ValueError(f"labels are {labels.dtype} {labels.shape}, {wanted}")
    if image.dtype != np.uint8 or image.shape != (*labels.shape, 3):
        wanted = f"wanted uint8 {(*labels.shape, 3)} as its labels; pass it through nucbook.sample.to_rgb."
        raise ValueError(f"image is {image.dtype} {image.shape}, {wanted}")
    if not 0 < mpp < np.inf:
        raise ValueError(f"mpp is {mpp}; give micrometres per pixel, as 0.25 for a 40× scan.")


def _checked(rows: ArrayLike) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(PROPERTIES):
        raise ValueError(f"rows are {rows.shape}, wanted (N, 5): {', '.join(PROPERTIES)}.")
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
