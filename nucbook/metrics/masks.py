"""Two sides whose instances may overlap, compared pair by pair where their boxes meet."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import shapely
from scipy.sparse import coo_array

from nucbook.nuclei import Nuclei


@dataclass(frozen=True, eq=False)
class Masks:
    """Two `Nuclei` of one shape, every row with a pixel, and the ids of their rows, (G,) and (P,)."""

    truth: Nuclei
    prediction: Nuclei
    truth_ids: np.ndarray
    prediction_ids: np.ndarray

    @classmethod
    def of(
        cls, truth: np.ndarray | Nuclei, prediction: np.ndarray | Nuclei, valid: np.ndarray | None
    ) -> Masks:
        """From `Nuclei`, whose ids are row + 1, or label maps (H, W); pixels not `valid` are taken away."""
        truth_ids, truth = _counted(truth, valid)
        prediction_ids, prediction = _counted(prediction, valid)
        return cls(truth, prediction, truth_ids, prediction_ids)

    @property
    def truth_areas(self) -> np.ndarray:
        """(G,), pixels."""
        return self.truth.areas

    @property
    def prediction_areas(self) -> np.ndarray:
        """(P,), pixels."""
        return self.prediction.areas

    def intersections(self) -> coo_array:
        """(G, P), shared pixels; zeros where two boxes meet and the masks do not."""
        tree = shapely.STRtree(shapely.box(*self.prediction.boxes.T))
        truth_of, prediction_of = tree.query(shapely.box(*self.truth.boxes.T))
        truth_boxes, prediction_boxes = self.truth.boxes.tolist(), self.prediction.boxes.tolist()
        shared = [
            _shared(self.truth.masks[g], truth_boxes[g], self.prediction.masks[p], prediction_boxes[p])
            for g, p in zip(truth_of.tolist(), prediction_of.tolist())
        ]
        return coo_array(
            (np.array(shared, np.int64), (truth_of, prediction_of)),
            shape=(len(self.truth), len(self.prediction)),
        )

    def foreground(self) -> tuple[int, int, int]:
        """Pixels covered by any row of the truth, of the prediction, of both."""
        truth, prediction = _covered(self.truth), _covered(self.prediction)
        count = lambda pixels: int(np.count_nonzero(pixels))
        return count(truth), count(prediction), count(truth & prediction)

    def in_components(self) -> Masks:
        """The same masks, each 8-connected component of a row in a row of its own."""
        return Masks.of(_in_components(self.truth), _in_components(self.prediction), None)


def _counted(side: np.ndarray | Nuclei, valid: np.ndarray | None) -> tuple[np.ndarray, Nuclei]:
    """Ids and rows that have a valid pixel, their masks without the others."""
    if isinstance(side, Nuclei):
        ids, nuclei = np.arange(1, len(side) + 1), side
    else:
        ids, nuclei = np.unique(side[side > 0]), Nuclei.from_labels(side)
    if valid is not None:
        masks = [mask & valid[r0:r1, c0:c1] for mask, (r0, c0, r1, c1) in zip(nuclei.masks, nuclei.boxes)]
        nuclei = replace(nuclei, masks=masks)
    rows = np.flatnonzero(nuclei.areas)
    return ids[rows], nuclei[rows]


def _shared(mask: np.ndarray, box: list[int], other: np.ndarray, other_box: list[int]) -> int:
    """Pixels that both masks cover."""
    top, left = max(box[0], other_box[0]), max(box[1], other_box[1])
    bottom, right = min(box[2], other_box[2]), min(box[3], other_box[3])
    if top >= bottom or left >= right:  # the boxes only touch
        return 0
    window = lambda mask, box: mask[top - box[0] : bottom - box[0], left - box[1] : right - box[1]]
    return int(np.count_nonzero(window(mask, box) & window(other, other_box)))


def _covered(nuclei: Nuclei) -> np.ndarray:
    """bool (H, W), pixels of any instance."""
    covered = np.zeros(nuclei.shape, bool)
    for (r0, c0, r1, c1), mask in zip(nuclei.boxes.tolist(), nuclei.masks):
        covered[r0:r1, c0:c1] |= mask
    return covered


def _in_components(nuclei: Nuclei) -> Nuclei:
    """The 8-connected components of each mask, in reading order of their first pixels."""
    boxes, masks, first_pixels = [], [], []
    for box, mask in zip(nuclei.boxes.tolist(), nuclei.masks):
        count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        for number in range(1, count):
            boxes.append(box)
            masks.append(labels == number)
            row, column = divmod(int(masks[-1].argmax()), mask.shape[1])
            first_pixels.append((box[0] + row, box[1] + column))
    components = Nuclei(nuclei.shape, np.array(boxes, np.int32), masks)
    return components[sorted(range(len(components)), key=first_pixels.__getitem__)]
