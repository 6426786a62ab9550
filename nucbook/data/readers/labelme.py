"""LabelMe JSON: polygons that may overlap, each with a label (chromosomes)."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.images import read_rgb
from nucbook.data.readers.polygons import Rings, to_nuclei
from nucbook.sample import Sample


def read_json(path: Path) -> Any:
    """Any JSON file; raises UnreadableFile."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableFile(path, f"no intact JSON ({error})") from error


@dataclass(frozen=True)
class Shapes:
    """What a LabelMe file holds.

    outlines   : one a polygon (see `polygons` for the form); labels: as many names.
    size       : (H, W) of the picture that was drawn on, or None.
    image_path : name of that picture; image_data: the picture itself in base64, or None.
    """

    outlines: list[Rings]
    labels: list[str]
    size: tuple[int, int] | None
    image_path: str
    image_data: str | None


def read_sample(
    path: Path, name: str, mpp: float | None, meta: Mapping[str, Any], class_names: Mapping[int, str]
) -> Sample:
    """The picture that a LabelMe file names or carries, and its polygons as overlapping `nuclei`.

    class_names : {class id: label}; other labels get class 0.
    The picture is looked for beside the JSON and in `../images`, then in the JSON itself.
    `meta["regions"]` counts the polygons. Raises UnreadableFile where the picture is in none of these
    places or has another size than the file says, and for broken files.
    """
    shapes = read_shapes(path)
    picture = _picture(path, shapes)
    height, width = picture.shape[:2]
    if shapes.size not in (None, (height, width)):
        reason = f"drawn on {shapes.size[0]}×{shapes.size[1]} pixels, the picture has {height}×{width}"
        raise UnreadableFile(path, reason, "find the picture that it was drawn on")
    id_of = {label: i for i, label in class_names.items()}
    nuclei = to_nuclei(shapes.outlines, [id_of.get(label, 0) for label in shapes.labels], (height, width))
    meta = {**meta, "regions": len(shapes.outlines)}
    return Sample(picture, nuclei=nuclei, class_names=class_names, mpp=mpp, name=name, meta=meta)


def read_shapes(path: Path) -> Shapes:
    """The polygons of a LabelMe file, with its own keys (`imagePath`) or snake case (`image_path`).

    LabelMe counts from the corner of the first pixel, whose centre is at (0.5, 0.5).
    Raises UnreadableFile where there is no list of shapes, or one is no polygon.
    """
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise UnreadableFile(path, "no list of shapes in it", "save it from LabelMe again")
    outlines, labels = [], []
    for i, shape in enumerate(shapes):
        try:
            kind, points = shape.get("shape_type", "polygon"), shape["points"]
            ring = np.array(points, np.float64).reshape(-1, 2)[:, ::-1] - 0.5
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnreadableFile(path, f"shape {i} has no points ({error!r})", "redraw it") from error
        if kind != "polygon":
            raise UnreadableFile(path, f"shape {i} is a {kind}", "redraw it as a polygon")
        outlines.append([ring])
        labels.append(str(shape.get("label", "")))
    height, width = _either(content, "imageHeight"), _either(content, "imageWidth")
    size = (int(height), int(width)) if height and width else None
    named = str(_either(content, "imagePath") or f"{path.stem}.png").replace("\\", "/")
    return Shapes(outlines, labels, size, Path(named).name, _either(content, "imageData"))


def _picture(path: Path, shapes: Shapes) -> np.ndarray:
    for folder in (path.parent, path.parent.parent / "images"):
        if (folder / shapes.image_path).exists():
            return read_rgb(folder / shapes.image_path)
    if not shapes.image_data:
        reason = f"its picture {shapes.image_path} is missing"
        raise UnreadableFile(path, reason, f"put it beside {path.name}")
    try:
        data = base64.b64decode(shapes.image_data)
    except (binascii.Error, TypeError, ValueError) as error:
        way_out = f"put {shapes.image_path} beside it"
        raise UnreadableFile(path, f"imageData is no base64 ({error})", way_out) from error
    return read_rgb(path, io.BytesIO(data))


def _either(content: Mapping[str, Any], key: str) -> Any:
    """The value of LabelMe's camelCase key, or of the snake case that some tools make of it."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
    return content.get(key, content.get(snake))
