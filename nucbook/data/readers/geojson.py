"""GeoJSON as QuPath exports it: polygons of nuclei with classes, or points."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.labelme import read_json
from nucbook.data.readers.polygons import Rings, contains, interior

_FOUND = ("detection", "cell")  # QuPath's types of what was found; annotations may be regions
_OUTLINES = ("Polygon", "MultiPolygon")
_POINTS = ("Point", "MultiPoint")
_MANY = 3  # an outline round so many others is no nucleus


@dataclass(frozen=True)
class Features:
    """Polygons with a class name each ("" where none is given), or points (N, 2) as (row, column)."""

    outlines: list[Rings]
    kinds: list[str]
    points: np.ndarray


@dataclass(frozen=True)
class _Object:
    """A feature: its place in the file, QuPath's type, class and geometry; points are a single ring."""

    number: int
    type: str
    kind: str
    geometry: str
    rings: Rings


def read_features(path: Path) -> Features:
    """Nuclei of a GeoJSON file: a collection, a list, or a single feature, with those nested in it.

    Polygons and MultiPolygons are nuclei (holes are kept), Points and MultiPoints are point labels; of a
    QuPath cell the nucleus is taken, where it has one. Annotations beside detections or cells are the
    regions these lie in: they are left out, with a warning. Points within outlines add nothing to them.
    The class is `properties.classification.name` or `names`. Coordinates are (x, y) in pixels from the
    corner of the first pixel, whose centre is at (0.5, 0.5).

    Raises UnreadableFile for other geometries, for a polygon round three or more others that is no
    detection, and for points outside the outlines.
    """
    objects, left_out = _nuclei(path)
    if left_out:
        warnings.warn(
            f"{path}: {left_out} annotations left out: beside detections they are regions, not nuclei.",
            stacklevel=2,
        )
    outlined = [one for one in objects if one.geometry in _OUTLINES]
    rings = [ring for one in objects if one.geometry in _POINTS for ring in one.rings]
    points = np.concatenate(rings) if rings else np.zeros((0, 2))
    _refuse_regions(path, outlined, points)
    if outlined and len(points):
        _refuse_strays(path, outlined, points)
        points = points[:0]
    return Features([one.rings for one in outlined], [one.kind for one in outlined], points)


def read_kinds(path: Path) -> list[str]:
    """The class names of `read_features`, without its warning and its look at what lies in what."""
    return [one.kind for one in _nuclei(path)[0] if one.geometry in _OUTLINES]


def _nuclei(path: Path) -> tuple[list[_Object], int]:
    """What the file has for nuclei, and how many regions were left out."""
    objects = _objects(path)
    found = any(one.type in _FOUND for one in objects)
    region = lambda one: found and one.type not in (*_FOUND, "") and one.geometry not in _POINTS
    kept = [one for one in objects if not region(one)]
    for one in kept:
        if one.geometry not in _OUTLINES + _POINTS:
            reason = f"feature {one.number} is a {one.geometry}"
            raise UnreadableFile(path, reason, "export polygons (nuclei) or points")
    return kept, len(objects) - len(kept)


def _objects(path: Path) -> list[_Object]:
    content = read_json(path)
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list):
        raise UnreadableFile(path, "no GeoJSON features in it", "export the objects from QuPath again")
    objects = []
    for i, feature in enumerate(_with_children(features)):
        try:
            shape = feature.get("nucleusGeometry") or feature["geometry"]
            geometry, rings = shape["type"], _rings(shape)
            objects.append(_Object(i, _type(feature), _kind(feature), geometry, rings))
        except (AttributeError, KeyError, TypeError, IndexError, ValueError) as error:
            reason = f"feature {i} is no GeoJSON feature ({error!r})"
            raise UnreadableFile(path, reason, "export it again") from error
    return objects


def _with_children(features: list) -> Iterator[Any]:
    """Each feature, and after it the objects inside it: QuPath can write its hierarchy."""
    for feature in features:
        yield feature
        properties = feature.get("properties") if isinstance(feature, dict) else None
        children = properties.get("childObjects") if isinstance(properties, dict) else None
        if isinstance(children, list):
            yield from _with_children(children)


def _rings(shape: Mapping[str, Any]) -> Rings:
    """The rings of an outline, the points as one, nothing for other geometries."""
    coordinates: Any = shape.get("coordinates")
    match shape["type"], coordinates:
        case "Polygon", rings:
            return [_vertices(ring) for ring in rings]
        case "MultiPolygon", polygons:
            return [_vertices(ring) for polygon in polygons for ring in polygon]
        case "Point", point:
            return [_vertices([point])]
        case "MultiPoint", points:
            return [_vertices(points)]
    return []


def _vertices(pairs: list) -> np.ndarray:
    return np.array([pair[:2] for pair in pairs], np.float64).reshape(-1, 2)[:, ::-1] - 0.5


def _kind(feature: Mapping[str, Any]) -> str:
    """The class's name; a derived class has its parts' `names`, joined as QuPath shows them."""
    classification = (feature.get("properties") or {}).get("classification") or {}
    return str(classification.get("name") or ": ".join(classification.get("names", [])))


def _type(feature: Mapping[str, Any]) -> str:
    """QuPath's annotation, detection, cell, …; "" where it is not said. Before 0.3 the id said it."""
    properties, named = feature.get("properties") or {}, str(feature.get("id", ""))
    said = properties.get("objectType") or properties.get("object_type")
    said = str(said or (named if named.endswith("Object") else ""))
    return said.removeprefix("Path").removesuffix("Object").lower()


def _refuse_regions(path: Path, outlined: list[_Object], points: np.ndarray) -> None:
    drawn = [one for one in outlined if one.type not in _FOUND]
    if not drawn:
        return
    places = np.concatenate([[interior(one.rings) for one in outlined], points])
    for one in drawn:
        others = contains(one.rings, places).sum() - 1
        if others >= _MANY:
            vertices = np.concatenate(one.rings) + 0.5
            (top, left), (bottom, right) = vertices.min(0), vertices.max(0)
            where = f"x = {left:g} to {right:g}, y = {top:g} to {bottom:g}"
            reason = f"feature {one.number} ({where}) lies round {others} others: a region, not a nucleus"
            raise UnreadableFile(path, reason, "delete the region, or export the nuclei as detections")


def _refuse_strays(path: Path, outlined: list[_Object], points: np.ndarray) -> None:
    outside = np.ones(len(points), bool)
    for one in outlined:
        outside &= ~contains(one.rings, points)
    if outside.any():
        y, x = points[outside][0] + 0.5
        reason = f"{outside.sum()} points lie in none of its outlines, the first at x = {x:g}, y = {y:g}"
        way_out = "outline these nuclei too, delete the points, or put the points in a file of their own"
        raise UnreadableFile(path, reason, way_out)
