"""Instances as columns: one row per nucleus, overlaps allowed.

A label map gives each pixel to one nucleus. `Nuclei` does not: chromosomes cross, detectors
predict overlapping masks, so each instance keeps its own crop of a mask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage
from skimage.measure import find_contours


class InvalidNuclei(ValueError):
    """Columns that do not fit together; the message names the row and the reason."""


@dataclass(frozen=True, eq=False)
class Nuclei:
    """N instances in an image of `shape` pixels.

    shape   : (H, W) of the image, pixels.
    boxes   : int32 (N, 4), first row, first column, last row + 1, last column + 1.
    masks   : N bool arrays; mask i has the size of box i and may overlap others.
    scores  : float32 (N,), confidence in [0, 1]; ones by default.
    classes : int32 (N,), class id, 0 = unknown; zeros by default.
    rotated : float32 (N, 5) or None, a detector's rotated boxes: centre row, centre column,
              long side, short side (pixels), angle of the long side in [0, π), radians
              from the column axis towards the row axis. `rotated_boxes()` fits them to masks.

    Raises InvalidNuclei where a column has another length, a mask another size than its box,
    or a box leaves the image.
    """

    shape: tuple[int, int]
    boxes: np.ndarray
    masks: Sequence[np.ndarray]
    scores: np.ndarray
    classes: np.ndarray
    rotated: np.ndarray | None

    def __init__(
        self,
        shape: Sequence[int],
        boxes: ArrayLike = (),
        masks: Iterable[ArrayLike] = (),
        scores: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        rotated: ArrayLike | None = None,
    ):
        own_boxes = np.asarray(boxes, dtype=np.int32).reshape(-1, 4)
        count = len(own_boxes)
        columns: dict[str, Any] = {
            "shape": (int(shape[0]), int(shape[1])),
            "boxes": own_boxes,
            "masks": tuple(np.asarray(mask, dtype=bool) for mask in masks),
            "scores": _column(scores, count, 1.0, np.float32, "scores"),
            "classes": _column(classes, count, 0, np.int32, "classes"),
            "rotated": None if rotated is None else np.asarray(rotated, dtype=np.float32).reshape(-1, 5),
        }
        if rotated is not None and len(columns["rotated"]) != count:
            raise InvalidNuclei(f"rotated: {len(columns['rotated'])} rows for {count} boxes.")
        for name, value in columns.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        if len(self.masks) != len(self.boxes):
            raise InvalidNuclei(f"{len(self.masks)} masks for {len(self.boxes)} boxes; give one mask a box.")
        height, width = self.shape
        for i, ((r0, c0, r1, c1), mask) in enumerate(zip(self.boxes.tolist(), self.masks)):
            if not (0 <= r0 < r1 <= height and 0 <= c0 < c1 <= width):
                raise InvalidNuclei(
                    f"box {i} = {(r0, c0, r1, c1)} is empty or leaves the {height}×{width} image; clip it."
                )
            if mask.shape != (r1 - r0, c1 - c0):
                raise InvalidNuclei(
                    f"mask {i} is {mask.shape}, its box {(r1 - r0, c1 - c0)}; crop the mask to the box."
                )

    # -- made from --------------------------------------------------------------------------

    @classmethod
    def from_labels(
        cls, labels: np.ndarray, scores: ArrayLike | None = None, class_of: Mapping[int, int] | None = None
    ) -> Nuclei:
        """Instances of a label map (H, W), ordered by id; ids need not be contiguous.

        scores   : one value per instance, in the order of the ids, or None.
        class_of : {id: class id}; ids that are not in it get class 0.
        """
        labels = np.asarray(labels)
        ids = np.unique(labels)
        ids = ids[ids != 0]
        if len(ids) and len(ids) == ids[-1]:
            ranks = labels
        else:  # find_objects wants 1..N
            ranks = (np.searchsorted(ids, labels) + 1) * (labels != 0)
        slices = ndimage.find_objects(ranks.astype(np.int32, copy=False), max_label=len(ids))
        boxes = [(r.start, c.start, r.stop, c.stop) for r, c in slices]
        masks = [ranks[window] == i for i, window in enumerate(slices, start=1)]
        classes = [class_of.get(int(i), 0) for i in ids] if class_of else None
        return cls(labels.shape, np.array(boxes, np.int32), masks, scores, classes)

    @classmethod
    def concatenate(cls, parts: Iterable[Nuclei], shape: Sequence[int] | None = None) -> Nuclei:
        """All rows of `parts`, which share one image; `shape` is needed when there are none."""
        parts = list(parts)
        if not parts:
            if shape is None:
                raise InvalidNuclei("nothing to concatenate and no shape given.")
            return cls(shape)
        rotated = [part.rotated for part in parts if part.rotated is not None]
        return cls(
            shape or parts[0].shape,
            np.concatenate([part.boxes for part in parts]),
            chain.from_iterable(part.masks for part in parts),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.classes for part in parts]),
            np.concatenate(rotated) if len(rotated) == len(parts) else None,
        )

    # -- read as columns --------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows) -> Nuclei:
        """Some rows: a slice, indices, or a bool per row."""
        rows = np.arange(len(self))[rows].reshape(-1)
        return replace(
            self,
            boxes=self.boxes[rows],
            masks=[self.masks[i] for i in rows],
            scores=self.scores[rows],
            classes=self.classes[rows],
            rotated=None if self.rotated is None else self.rotated[rows],
        )

    @property
    def areas(self) -> np.ndarray:
        """int64 (N,), pixels."""
        return np.array([np.count_nonzero(mask) for mask in self.masks], np.int64)

    @property
    def centroids(self) -> np.ndarray:
        """float64 (N, 2), mean row and column of each mask; the box centre of an empty mask."""
        centres = (self.boxes[:, :2] + self.boxes[:, 2:] - 1) / 2
        for i, mask in enumerate(self.masks):
            rows, columns = np.nonzero(mask)
            if len(rows):
                centres[i] = self.boxes[i, 0] + rows.mean(), self.boxes[i, 1] + columns.mean()
        return centres

    def rotated_boxes(self) -> np.ndarray:
        """float32 (N, 5): the smallest rotated box round each mask, in the convention of `rotated`.

        Of an empty mask the centre of its box, with sides of 0.
        """
        return np.array([_rotated_box(b, m) for b, m in zip(self.boxes, self.masks)], np.float32).reshape(
            -1, 5
        )

    # -- turned into ------------------------------------------------------------------------

    def to_labels(self) -> np.ndarray:
        """int32 (H, W), row i painted with id i + 1.

        A contested pixel goes to the higher score; at equal scores to the earlier row.
        """
        labels = np.zeros(self.shape, np.int32)
        for i in np.argsort(-self.scores, kind="stable")[::-1]:  # the winner paints last
            r0, c0, r1, c1 = self.boxes[i]
            labels[r0:r1, c0:c1][self.masks[i]] = i + 1
        return labels

    def to_polygons(self) -> list[np.ndarray]:
        """Outline of the largest component of each mask, float64 (V, 2).

        Vertices are (row, column), pixel centres at integers. They lie between the pixels inside and those
        outside: the outline holds the area of the component and its holes less half a pixel. Empty masks have
        no vertex.
        """
        return [_outline(mask) + box[:2] for box, mask in zip(self.boxes, self.masks)]

    def shifted(self, rows: int, columns: int, shape: tuple[int, int]) -> Nuclei:
        """The same instances moved into an image of another shape (a block into its slide)."""
        boxes = self.boxes + np.array([rows, columns, rows, columns], np.int32)
        rotated = self.rotated
        if rotated is not None:
            rotated = rotated + np.array([rows, columns, 0, 0, 0], np.float32)
        return replace(self, shape=shape, boxes=boxes, rotated=rotated)

    def tight(self) -> Nuclei:
        """Boxes shrunk to their masks; rows with an empty mask are dropped."""
        full = self[[i for i, mask in enumerate(self.masks) if mask.any()]]
        boxes, masks = [], []
        for (r0, c0, _, _), mask in zip(full.boxes, full.masks):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            t, b, l, r = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
            boxes.append((r0 + t, c0 + l, r0 + b, c0 + r))
            masks.append(mask[t:b, l:r])
        return replace(full, boxes=np.array(boxes, np.int32), masks=masks)


def _column(values: ArrayLike | None, count: int, default: float, dtype: type, name: str) -> np.ndarray:
    column: np.ndarray = np.full(count, default, dtype)
    if values is not None:
        column = np.asarray(values, dtype=dtype).reshape(-1)
    if len(column) != count:
        raise InvalidNuclei(f"{name}: {len(column)} values for {count} boxes.")
    return column


def _outline(mask: np.ndarray) -> np.ndarray:
    rings = find_contours(np.pad(mask, 1).astype(np.float32), 0.5, fully_connected="high")
    if not rings:
        return np.zeros((0, 2))
    ring = max(rings, key=lambda ring: cv2.contourArea(ring.astype(np.float32)))[:-1] - 1
    to, on = ring - np.roll(ring, 1, 0), np.roll(ring, -1, 0) - ring
    return ring[to[:, 0] * on[:, 1] != to[:, 1] * on[:, 0]]  # without vertices on a straight line


def _rotated_box(box: np.ndarray, mask: np.ndarray) -> tuple[float, ...]:
    points = np.argwhere(mask)[:, ::-1].astype(np.float32)  # (x, y)
    if not len(points):
        return (box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2, 0, 0, 0
    (x, y), (width, height), degrees = cv2.minAreaRect(points)
    if height > width:
        width, height, degrees = height, width, degrees + 90
    # minAreaRect measures between pixel centres; a row of 3 pixels is 3 long, not 2.
    return (box[0] + y, box[1] + x, width + 1, height + 1, np.deg2rad(degrees) % np.pi)
