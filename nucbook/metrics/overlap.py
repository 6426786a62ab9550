"""Who overlaps whom, and by how much: the one table all metrics are read from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from nucbook.metrics.masks import Masks
from nucbook.metrics.runs import Runs
from nucbook.nuclei import Nuclei


class InvalidPair(ValueError):
    """A truth and a prediction that cannot be compared; the message names the side and the reason."""


@dataclass(frozen=True, eq=False)
class Overlap:
    """Areas of all instances and the intersections of those that meet.

    truth_ids, prediction_ids     : (G,), (P,) ids in rising order; of `Nuclei`, row + 1. An instance
                                    without a pixel (in the valid part) is not in the table.
    truth_areas, prediction_areas : int64 (G,), (P,), pixels.
    truth_of, prediction_of       : (K,) positions in the ids of the K pairs that share a pixel,
                                    ordered by truth, then by prediction.
    intersection                  : int64 (K,), pixels shared by each pair, at least 1.
    foreground                    : pixels covered by any true instance, by any predicted one, by both.
    components                    : the same table with each instance divided into its 8-connected
                                    components, numbered by their first pixel in reading order.
    """

    truth_ids: np.ndarray
    truth_areas: np.ndarray
    prediction_ids: np.ndarray
    prediction_areas: np.ndarray
    truth_of: np.ndarray
    prediction_of: np.ndarray
    intersection: np.ndarray
    foreground: tuple[int, int, int]
    _source: Runs | Masks = field(repr=False)

    @classmethod
    def between(
        cls, truth: np.ndarray | Nuclei, prediction: np.ndarray | Nuclei, valid: np.ndarray | None = None
    ) -> Overlap:
        """The table of two label maps (H, W), of two `Nuclei`, or of one of each.

        Label maps hold any non-negative integers, 0 = background. `valid`, bool (H, W), is False
        where neither side may count.

        Raises InvalidPair for different shapes, floats, negative ids, a `valid` that does not fit.
        """
        truth, prediction = checked(truth, "truth"), checked(prediction, "prediction")
        same_shape(truth, prediction)
        if valid is not None:
            valid = np.asarray(valid)
            if valid.dtype != bool or valid.shape != truth.shape:
                raise InvalidPair(
                    f"valid is {valid.dtype} {valid.shape}, expected bool {truth.shape}; "
                    "make it a mask of the image."
                )
        if isinstance(truth, Nuclei) or isinstance(prediction, Nuclei):
            return cls._counted(Masks.of(truth, prediction, valid))
        if valid is not None:
            truth, prediction = np.where(valid, truth, 0), np.where(valid, prediction, 0)
        return cls._counted(Runs.of(truth, prediction))

    @classmethod
    def _counted(cls, source: Runs | Masks) -> Overlap:
        table = source.intersections().tocsr()  # adds up what stands twice, and sorts
        table.eliminate_zeros()
        return cls(
            source.truth_ids,
            source.truth_areas.astype(np.int64),
            source.prediction_ids,
            source.prediction_areas.astype(np.int64),
            np.repeat(np.arange(len(source.truth_ids)), np.diff(table.indptr)),
            table.indices.astype(np.int64),
            table.data.astype(np.int64),
            source.foreground(),
            source,
        )

    @property
    def empty(self) -> bool:
        """Whether neither side holds an instance: no metric is defined."""
        return len(self.truth_ids) == len(self.prediction_ids) == 0

    @cached_property
    def union(self) -> np.ndarray:
        """int64 (K,), pixels covered by either instance of each pair."""
        return self.truth_areas[self.truth_of] + self.prediction_areas[self.prediction_of] - self.intersection

    @cached_property
    def iou(self) -> np.ndarray:
        """float64 (K,), intersection over union of each pair."""
        return self.intersection / self.union

    @cached_property
    def components(self) -> Overlap:
        """The same pair with every connected component of an instance counted as one of its own."""
        return self._counted(self._source.in_components())

    def best_for_truth(self, score: np.ndarray) -> np.ndarray:
        """For each true instance that meets any: the pair of highest `score` (K,); ties to the lowest id."""
        return _first_of_each(np.lexsort((self.prediction_of, -score, self.truth_of)), self.truth_of)

    def best_for_prediction(self, score: np.ndarray) -> np.ndarray:
        """The same from the side of the predictions."""
        return _first_of_each(np.lexsort((self.truth_of, -score, self.prediction_of)), self.prediction_of)

    def one_to_one(self, pairs: np.ndarray | None = None) -> np.ndarray:
        """The pairs of the assignment with the largest sum of IoU, each instance in one at most.

        pairs : bool (K,), those to choose from; all by default. Returns positions, rising.
        Of several assignments with an equal sum, one is taken; the order of the ids decides which.
        """
        chosen = np.arange(len(self.iou)) if pairs is None else np.flatnonzero(pairs)
        truth, prediction = self.truth_of[chosen], self.prediction_of[chosen]
        if len(np.unique(truth)) == len(chosen) == len(np.unique(prediction)):
            return chosen  # nothing is contested
        # Sparse Hungarian wants a full matching: each truth may also marry a ghost of its own.
        G, P = len(self.truth_ids), len(self.prediction_ids)
        ghosts = np.arange(G)
        cost = np.concatenate([2 - self.iou[chosen], np.full(G, 2.0)])  # not 0: zeros are no edges
        columns = np.concatenate([prediction, P + ghosts])
        graph = coo_array((cost, (np.concatenate([truth, ghosts]), columns)), shape=(G, P + G)).tocsr()
        rows, partners = min_weight_full_bipartite_matching(graph)
        mate = np.full(G, -1)
        mate[rows] = partners
        return chosen[mate[truth] == prediction]


def _first_of_each(order: np.ndarray, group: np.ndarray) -> np.ndarray:
    return order[np.unique(group[order], return_index=True)[1]]


def checked(side: np.ndarray | Nuclei, name: str) -> np.ndarray | Nuclei:
    """`Nuclei`, or a label map that is one; raises InvalidPair, naming the side, for anything else."""
    if isinstance(side, Nuclei):
        return side
    labels = np.asarray(side)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise InvalidPair(
            f"{name} is {labels.dtype} {labels.shape}, expected an integer label map (H, W) or Nuclei; "
            "pass it through nucbook.sample.to_instances."
        )
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise InvalidPair(
            f"{name} holds negative ids; use 0 for background and `valid` for pixels to leave out."
        )
    return labels


def same_shape(truth: np.ndarray | Nuclei, prediction: np.ndarray | Nuclei) -> None:
    """Raise InvalidPair where the two sides cannot be of one image."""
    if truth.shape != prediction.shape:
        raise InvalidPair(
            f"truth is {truth.shape}, prediction {prediction.shape}; check that they show one image."
        )
