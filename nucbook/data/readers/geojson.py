"""GeoJSON as QuPath exports it: polygons of nuclei with classes, or points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.labelme import read_json
from nucbook.data.readers.polygons import Rings


@dataclass(frozen=True)
class Features:
    """Polygons with a class name each ("" where none is given), and points (N, 2) as (row, column)."""

    outlines: list[Rings]
    kinds: list[str]
    points: np.ndarray


def read_features(path: Path) -> Features:
    """Features of a GeoJSON file: a collection, a list, or a single one.

    Polygons and MultiPolygons are nuclei (holes are kept), Points and MultiPoints are point labels.
    The class is `properties.classification.name`. Coordinates are (x, y) in pixels from the corner of
    the first pixel, whose centre is at (0.5, 0.5). Raises UnreadableFile for other geometries.
    """
    content = read_json(path)
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list):
        raise UnreadableFile(path, "no GeoJSON features in it", "export the objects from QuPath again")
    outlines, kinds, points = [], [], []
    for i, feature in enumerate(features):
        try:
            geometry, kind = feature["geometry"]["type"], _kind(feature)
            coordinates = feature["geometry"]["coordinates"]
            match geometry:
                case "Polygon":
                    outlines.append([_vertices(ring) for ring in coordinates])
                    kinds.append(kind)
                case "MultiPolygon":
                    outlines.append([_vertices(ring) for polygon in coordinates for ring in polygon])
                    kinds.append(kind)
                case "Point" | "MultiPoint":
                    points.append(_vertices([coordinates] if geometry == "Point" else coordinates))
                case _:
                    reason = f"feature {i} is a {geometry}"
                    raise UnreadableFile(path, reason, "export polygons (nuclei) or points")
        except (KeyError, TypeError, IndexError, ValueError) as error:
            if isinstance(error, UnreadableFile):
                raise
            reason = f"feature {i} is no GeoJSON feature ({error!r})"
            raise UnreadableFile(path, reason, "export it again") from error
    return Features(outlines, kinds, np.concatenate(points) if points else np.zeros((0, 2)))


def _vertices(pairs: list) -> np.ndarray:
    return np.array([pair[:2] for pair in pairs], np.float64).reshape(-1, 2)[:, ::-1] - 0.5


def _kind(feature: Mapping[str, Any]) -> str:
    classification = (feature.get("properties") or {}).get("classification") or {}
    return str(classification.get("name", ""))
