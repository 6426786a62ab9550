"""GeoJSON as QuPath writes it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.geojson import read_features
from nucbook.data.readers.polygons import fill, paint
from tests.data.layouts import boxes, corners, geojson, tile


def written(tmp_path, content):
    path = tmp_path / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def feature(kind: str, coordinates) -> dict:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": {}}


def test_polygons_are_painted_to_the_pixel(tmp_path):
    features = read_features(written(tmp_path, geojson(boxes())))
    assert np.array_equal(paint(features.outlines, (24, 24)), tile()[1])
    assert features.kinds == ["tumour", "", "stroma"]
    assert len(features.points) == 0


def test_a_list_or_a_single_feature_will_do(tmp_path):
    every = geojson(boxes())["features"]
    assert len(read_features(written(tmp_path, every)).outlines) == 3
    assert len(read_features(written(tmp_path, every[0])).outlines) == 1


def test_holes_and_several_pieces(tmp_path):
    square, hole = corners((0, 0, 9, 9)), corners((3, 3, 6, 6))
    pieces = [[square, hole], [corners((12, 12, 15, 15))]]
    content = [feature("Polygon", [square, hole]), feature("MultiPolygon", pieces)]
    features = read_features(written(tmp_path, content))
    assert [fill(outline, (20, 20))[1].sum() for outline in features.outlines] == [72, 81]


def test_points_are_rows_and_columns(tmp_path):
    content = [feature("Point", [3.5, 7.5]), feature("MultiPoint", [[1.5, 2.5], [0.5, 0.5]])]
    assert read_features(written(tmp_path, content)).points.tolist() == [[7, 3], [2, 1], [0, 0]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "no intact JSON"),
        ([feature("LineString", [[0, 0], [1, 1]])], "feature 0 is a LineString; export polygons"),
        ([{"type": "Feature", "geometry": None}], "feature 0 is no GeoJSON feature"),
        ([feature("Polygon", 3)], "feature 0 is no GeoJSON feature"),
        ([feature("Polygon", [[["a", "b"]]])], "feature 0 is no GeoJSON feature"),
        ("[7]", "feature 0 is no GeoJSON feature"),
        ("7", "no GeoJSON"),
    ],
)
def test_broken_files_are_named(tmp_path, content, reason):
    with pytest.raises(UnreadableFile, match=rf"a\.geojson: {reason}"):
        read_features(written(tmp_path, content))
