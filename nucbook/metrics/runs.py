"""Two label maps as runs: stretches of a row on which both are constant.

There are some twenty times fewer runs than pixels, and all that is counted here is counted on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of two label maps in reading order, without those that are background in both.

    start          : positions in a map with one empty column more, so that no run touches one of the
                     next row at the border.
    length         : pixels.
    stride         : positions a row.
    truth          : of each run, 1 + position in truth_ids, 0 = background; `prediction` likewise.
    truth_ids      : (G,), prediction_ids : (P,), rising.
    """

    start: np.ndarray
    length: np.ndarray
    stride: int
    truth: np.ndarray
    prediction: np.ndarray
    truth_ids: np.ndarray
    prediction_ids: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, prediction: np.ndarray) -> Runs:
        """From two integer maps (H, W) of one shape, ids >= 0."""
        width = max(truth.shape[1], 1)
        truth, prediction = truth.ravel(), prediction.ravel()
        changes = np.ones(truth.size, bool)
        np.not_equal(truth[1:], truth[:-1], out=changes[1:])
        changes[1:] |= prediction[1:] != prediction[:-1]
        changes[::width] = True
        start = np.flatnonzero(changes)
        length = np.diff(start, append=truth.size)
        truth, prediction = truth[start], prediction[start]
        kept = np.flatnonzero((truth != 0) | (prediction != 0))
        start, length = start[kept], length[kept]
        truth_ids, truth = _ranks(truth[kept])
        prediction_ids, prediction = _ranks(prediction[kept])
        return cls(start + start // width, length, width + 1, truth, prediction, truth_ids, prediction_ids)

    @property
    def truth_areas(self) -> np.ndarray:
        """(G,), pixels."""
        return np.bincount(self.truth, self.length, len(self.truth_ids) + 1)[1:]

    @property
    def prediction_areas(self) -> np.ndarray:
        """(P,), pixels."""
        return np.bincount(self.prediction, self.length, len(self.prediction_ids) + 1)[1:]

    def intersections(self) -> coo_array:
        """(G, P), shared pixels; a pair stands there once for each run it shares."""
        both = np.flatnonzero((self.truth > 0) & (self.prediction > 0))
        pairs = self.truth[both] - 1, self.prediction[both] - 1
        return coo_array((self.length[both], pairs), shape=(len(self.truth_ids), len(self.prediction_ids)))

    def foreground(self) -> tuple[int, int, int]:
        """Pixels covered by the truth, by the prediction, by both."""
        truth, prediction = self.truth > 0, self.prediction > 0
        return (
            int(self.length @ truth),
            int(self.length @ prediction),
            int(self.length @ (truth & prediction)),
        )

    def in_components(self) -> Runs:
        """The same runs, each 8-connected component of an id with an id of its own."""
        truth, prediction = self._components(self.truth), self._components(self.prediction)
        ids = [np.arange(1, side.max(initial=0) + 1) for side in (truth, prediction)]
        return replace(self, truth=truth, prediction=prediction, truth_ids=ids[0], prediction_ids=ids[1])

    def _components(self, ids: np.ndarray) -> np.ndarray:
        """One side renumbered by its components of equal ids, in reading order of their first pixels."""
        if not ids.any():
            return ids
        kept = np.flatnonzero(ids)
        start, stop, own = self.start[kept], (self.start + self.length)[kept], ids[kept]
        # The other map may have cut a stretch of one id in two: join it again.
        fresh = np.ones(len(kept), bool)
        fresh[1:] = (start[1:] != stop[:-1]) | (own[1:] != own[:-1])
        first, last = np.flatnonzero(fresh), np.flatnonzero(np.roll(fresh, -1))
        start, stop, own = start[first], stop[last], own[first]
        # Runs of the next row that touch, corners included: those from `above` up to `below`.
        above = np.searchsorted(stop, start + self.stride - 1, side="right")
        below = np.searchsorted(start, stop + self.stride + 1, side="left")
        count = below - above
        upper = np.repeat(np.arange(len(count)), count)
        lower = np.arange(count.sum()) + np.repeat(above - (np.cumsum(count) - count), count)
        same = np.flatnonzero(own[upper] == own[lower])
        links = coo_array((np.ones(len(same)), (upper[same], lower[same])), shape=(len(count), len(count)))
        # Components are numbered as they are met, that is by their first run in reading order.
        component = connected_components(links, directed=False)[1]
        numbered = np.zeros(len(ids), np.int64)
        numbered[kept] = 1 + component[np.cumsum(fresh) - 1]
        return numbered


def _ranks(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The non-zero ids, rising, and for each element 1 + its position among them, 0 for 0."""
    if len(ids) and ids.max() < 4 * len(ids):  # few enough for a table of all up to the last
        known = np.bincount(ids.astype(np.int64, copy=False)) > 0
        known[0] = False
        return np.flatnonzero(known), np.cumsum(known)[ids]
    known = np.unique(ids[ids != 0])
    return known, np.searchsorted(known, ids, side="right") * (ids != 0)
