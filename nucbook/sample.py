"""A sample: an image with or without labels, checked at the door.

Everything behind the door (metrics, targets, losses, training) may rely on what `Sample` promises
and does not check it again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import numpy as np

from nucbook.nuclei import Nuclei


class InvalidSample(ValueError):
    """An image or a label that cannot be used; the message names the sample, the reason, the way out."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image and what is known about it.

    image       : uint8 (H, W, 3), RGB.
    instances   : int32 (H, W), 0 = background, ids need not be contiguous; None where unlabelled.
    nuclei      : a `Nuclei` instead, where true instances overlap (chromosomes).
    points      : float64 (N, 2) as (row, column), pixel centres at integers, or None.
    class_of    : {instance id: class id}; for `nuclei` the class is a column of its own.
    class_names : {class id: name}.
    annotated   : bool (H, W), True where the truth is complete, as in rectangles that a person annotated;
                  elsewhere is unlabelled, which is not background. None = everywhere.
    valid       : bool (H, W), False where no metric or loss may look; None = everywhere.
    mpp         : micrometres per pixel, or None.
    name        : unique within its data set.
    meta        : data set, organ, patient, image (the image a patch was cut from), …

    Raises InvalidSample for anything else. `to_rgb` and `to_instances` convert what can be.
    """

    image: np.ndarray
    instances: np.ndarray | None = None
    nuclei: Nuclei | None = None
    points: np.ndarray | None = None
    class_of: Mapping[int, int] = field(default_factory=dict)
    class_names: Mapping[int, str] = field(default_factory=dict)
    annotated: np.ndarray | None = None
    valid: np.ndarray | None = None
    mpp: float | None = None
    name: str = "unnamed"
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        image = np.asarray(self.image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            self._refuse(
                f"image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)",
                "pass it through nucbook.sample.to_rgb",
            )
        if self.instances is not None and self.nuclei is not None:
            self._refuse(
                "both instances and nuclei given", "give a label map, or Nuclei where instances overlap"
            )
        if self.instances is not None:
            object.__setattr__(self, "instances", self._checked_instances())
        if self.nuclei is not None and self.nuclei.shape != self.shape:
            self._refuse(
                f"nuclei live in {self.nuclei.shape}, the image is {self.shape}",
                "check that they belong together",
            )
        if self.points is not None:
            object.__setattr__(self, "points", self._checked_points())
        for name in ("annotated", "valid"):
            mask = getattr(self, name)
            if mask is not None and (mask.dtype != bool or mask.shape != self.shape):
                what = f"{name} is {mask.dtype} {mask.shape}, expected bool {self.shape}"
                self._refuse(what, "make it a mask of the image")
        if self.annotated is not None and not self.labelled:
            self._refuse("annotated given without masks", "give the masks of the annotated part as well")
        if self.mpp is not None and not (np.isfinite(self.mpp) and 0 < self.mpp < 100):
            self._refuse(f"mpp is {self.mpp}", "give micrometres per pixel, as 0.25 for a 40× scan, or None")

    def _checked_instances(self) -> np.ndarray:
        labels = np.asarray(self.instances)
        if labels.ndim != 2 or labels.dtype.kind not in "iu":
            self._refuse(
                f"instances are {labels.dtype} {labels.shape}, expected integers (H, W)",
                "pass them through nucbook.sample.to_instances",
            )
        if labels.shape != self.shape:
            self._refuse(
                f"instances are {labels.shape}, the image is {self.shape}",
                "check that the two files belong together",
            )
        if labels.size and labels.min() < 0:
            self._refuse(
                "instances hold negative ids", "use 0 for background and `valid` for pixels to leave out"
            )
        if labels.size and labels.max() > np.iinfo(np.int32).max:
            self._refuse("instances hold ids beyond int32", "renumber them")
        return labels.astype(np.int32, copy=False)

    def _checked_points(self) -> np.ndarray:
        points = np.asarray(self.points, dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(points).all():
            self._refuse("a point is not finite", "drop it")
        within = inside(points, self.shape)
        if not within.all():
            row, column = points[~within][0]
            self._refuse(
                f"point ({row:g}, {column:g}) lies outside the {self.shape[0]}×{self.shape[1]} image",
                "points are (row, column); check that x and y are not swapped",
            )
        return points

    def _refuse(self, what: str, way_out: str) -> NoReturn:
        raise InvalidSample(f"sample {self.name!r}: {what}; {way_out}.")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W), pixels."""
        return self.image.shape[:2]

    @property
    def labelled(self) -> bool:
        """Whether full masks are known."""
        return self.instances is not None or self.nuclei is not None

    @property
    def counted(self) -> np.ndarray | None:
        """bool (H, W), where a prediction can be held against the truth; None = everywhere."""
        if self.annotated is None or self.valid is None:
            return self.valid if self.annotated is None else self.annotated
        return self.annotated & self.valid

    @property
    def truth(self) -> Nuclei:
        """The true instances as `Nuclei`; raises InvalidSample where unlabelled."""
        if self.nuclei is not None:
            return self.nuclei
        if self.instances is None:
            self._refuse("has no masks", "this needs a labelled sample")
        return Nuclei.from_labels(self.instances, class_of=self.class_of)

    @property
    def label_map(self) -> np.ndarray:
        """The true instances as an int32 (H, W) map; where `nuclei` overlap, by `Nuclei.to_labels`."""
        if self.instances is not None:
            return self.instances
        return self.truth.to_labels()

    def weaken(self, to: str) -> Sample:
        """A copy that knows less, for training that must not peek.

        to : "points" keeps the points it came with, else the centres of the bounding boxes (one per nucleus;
             Liu et al. 2022, Sec. 3.1), "nothing" removes masks, points and classes,
             and `valid`, which some data sets draw from the outlines.
        """
        if to == "nothing":
            return replace(
                self, instances=None, nuclei=None, points=None, class_of={}, annotated=None, valid=None
            )
        if to == "points":
            points = self.points
            if points is None:
                boxes = self.truth.boxes
                points = ((boxes[:, :2] + boxes[:, 2:] - 1) // 2).astype(float)
            return replace(self, instances=None, nuclei=None, annotated=None, points=points, class_of={})
        raise ValueError(f"weaken to {to!r}? One of 'points', 'nothing'.")

    def crop(self, row: int, column: int, height: int, width: int) -> Sample:
        """A window of the sample; `meta` remembers its image and its box.

        Raises InvalidSample where the window leaves the image.
        """
        H, W = self.shape
        if not (
            row >= 0
            and column >= 0
            and row + height <= H
            and column + width <= W
            and height > 0
            and width > 0
        ):
            self._refuse(
                f"window ({row}, {column}) of {height}×{width} leaves the {H}×{W} image", "keep it inside"
            )
        window = np.s_[row : row + height, column : column + width]
        cut = lambda array: None if array is None else array[window]
        points = self.points
        if points is not None:
            points = points - (row, column)
            points = points[((points >= -0.5) & (points < (height - 0.5, width - 0.5))).all(1)]
        return replace(
            self,
            image=self.image[window],
            instances=cut(self.instances),
            nuclei=None if self.nuclei is None else _cropped(self.nuclei, row, column, height, width),
            points=points,
            annotated=cut(self.annotated),
            valid=cut(self.valid),
            name=f"{self.name}@{row},{column}",
            meta={
                **self.meta,
                "image": self.meta.get("image", self.name),
                "box": (row, column, row + height, column + width),
            },
        )


def _cropped(nuclei: Nuclei, row: int, column: int, height: int, width: int) -> Nuclei:
    boxes, masks, kept = [], [], []
    for i, ((r0, c0, r1, c1), mask) in enumerate(zip(nuclei.boxes, nuclei.masks)):
        t, l, b, r = max(r0, row), max(c0, column), min(r1, row + height), min(c1, column + width)
        if t < b and l < r:
            boxes.append((t - row, l - column, b - row, r - column))
            masks.append(mask[t - r0 : b - r0, l - c0 : r - c0])
            kept.append(i)
    moved = nuclei[kept]  # with scores, classes, rotated boxes
    if moved.rotated is not None:
        moved = replace(moved, rotated=moved.rotated - np.array([row, column, 0, 0, 0], np.float32))
    return replace(
        moved, shape=(height, width), boxes=np.array(boxes, np.int32).reshape(-1, 4), masks=masks
    ).tight()


# -- the door: what is converted, and what is refused ---------------------------------------


def inside(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """bool (N,): which points (N, 2), row and column, lie on a pixel of an image (H, W). NaN is nowhere."""
    return np.all((points >= -0.5) & (points < np.array(shape) - 0.5), axis=1)


def to_rgb(image: np.ndarray, name: str = "image") -> np.ndarray:
    """uint8 (H, W, 3) from what microscopes and editors write; says what it converted.

    Converted with a warning: grey (H, W) or (H, W, 1), RGBA whose alpha is opaque, bool,
    16-bit that holds 8-bit values (≤ 255, or stretched by 257), float in [0, 1] or whole
    numbers in [0, 255]. Refused with InvalidSample: anything where a guess would change the
    picture: transparency, real 16-bit depth, NaN, other ranges, other channel counts.
    """
    image = np.asarray(image)
    refuse = lambda what, way_out: _refuse_array(name, what, way_out)
    said: list[str] = []
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or 0 in image.shape:
        refuse(f"shape {image.shape} is not an image", "give one (H, W, 3) picture")
    image = _to_uint8(image, refuse, said)
    if image.shape[2] == 4:
        if (image[..., 3] != 255).any():
            refuse("it is partly transparent", "flatten it on white first")
        image = image[..., :3]
        said.append("opaque alpha dropped")
    elif image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
        said.append("grey repeated to RGB")
    elif image.shape[2] != 3:
        refuse(f"{image.shape[2]} channels", "choose three to show as RGB")
    if said:
        warnings.warn(f"{name}: {', '.join(said)}.", stacklevel=2)
    return np.ascontiguousarray(image)


def _to_uint8(image: np.ndarray, refuse, said: list[str]) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    if image.dtype == bool:
        said.append("bool stretched to 0 and 255")
        return image.astype(np.uint8) * 255
    if image.dtype.kind == "f":
        if not np.isfinite(image).all():
            refuse("it holds NaN or infinity", "replace those pixels first")
        if image.min() >= 0 and image.max() <= 1:
            said.append("float in [0, 1] scaled to 0..255")
            return np.round(image * 255).astype(np.uint8)
        if image.min() < 0 or image.max() > 255 or (image != np.round(image)).any():
            refuse(f"float in [{image.min():g}, {image.max():g}]", "scale it to [0, 1]")
    elif image.dtype.kind not in "iu" or image.min() < 0:
        refuse(f"{image.dtype} in [{image.min()}, {image.max()}]", "scale it to uint8")
    elif image.max() > 255:
        if image.dtype == np.uint16 and (image % 257 == 0).all():
            said.append("16-bit divided by 257")
            return (image // 257).astype(np.uint8)
        refuse(f"{image.dtype} up to {image.max()}", "choose the range to show and scale it to 0..255")
    said.append(f"{image.dtype} holding 8-bit values cast to uint8")
    return image.astype(np.uint8)


def to_instances(labels: np.ndarray, name: str = "mask") -> np.ndarray:
    """int32 (H, W) label map from what tools write; says what it converted.

    Converted: bool and whole-number floats, a single channel or three equal ones. Where all ids are one
    and its pixels are not connected, it is a mask of two values, as {0, 1} or {0, 255}: the
    8-connected components become instances, with a warning. Refused with InvalidSample: negative ids, NaN,
    fractions, colour masks.
    """
    labels = np.asarray(labels)
    refuse = lambda what, way_out: _refuse_array(name, what, way_out)
    if labels.ndim == 3 and labels.shape[2] in (1, 3) and (labels == labels[..., :1]).all():
        labels = labels[..., 0]
    if labels.ndim != 2:
        refuse(f"shape {labels.shape} is not a label map", "give (H, W) with one id per nucleus")
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            refuse("it holds NaN or infinity", "use 0 for background")
        if (labels != np.round(labels)).any():
            refuse("it holds fractions", "ids are whole numbers; was it resized with interpolation?")
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "biu":
        refuse(f"{labels.dtype} is no label map", "give whole numbers, one id per nucleus")
    if labels.size and labels.min() < 0:
        refuse("it holds negative ids", "use 0 for background and `valid` for pixels to leave out")
    if labels.size and labels.max() > np.iinfo(np.int32).max:
        refuse("it holds ids beyond int32", "renumber them")
    labels = labels.astype(np.int32)
    if ((labels == 0) | (labels == labels.max(initial=0))).all():
        from scipy import ndimage

        components, count = ndimage.label(labels, structure=np.ones((3, 3)))
        if count > 1:
            said = f"{name}: a two-valued mask; its {count} connected components become instances."
            warnings.warn(said, stacklevel=2)
            return components
    return labels


def _refuse_array(name: str, what: str, way_out: str) -> NoReturn:
    raise InvalidSample(f"{name}: {what}; {way_out}.")
