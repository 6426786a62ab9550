"""GeoJSON as QuPath writes it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import points_in_poly

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.geojson import read_features, read_kinds
from nucbook.data.readers.polygons import contains, fill, interior, paint
from tests.data.layouts import boxes, corners, geojson, tile


def written(tmp_path, content):
    path = tmp_path / "a.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def feature(kind: str, coordinates, **properties) -> dict:
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def square(box, **properties) -> dict:
    return feature("Polygon", [corners(box)], **properties)


NUCLEI = [(2, 2, 5, 5), (2, 10, 5, 13), (10, 2, 13, 5)]
WHOLE = (0, 0, 20, 20)


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


def test_a_derived_class_is_called_as_qupath_shows_it(tmp_path):
    content = [square(NUCLEI[0], classification={"names": ["Tumor", "Positive"]}), square(NUCLEI[1])]
    assert read_features(written(tmp_path, content)).kinds == ["Tumor: Positive", ""]


def test_points_are_rows_and_columns(tmp_path):
    content = [feature("Point", [3.5, 7.5]), feature("MultiPoint", [[1.5, 2.5], [0.5, 0.5]])]
    assert read_features(written(tmp_path, content)).points.tolist() == [[7, 3], [2, 1], [0, 0]]


# -- regions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("found", ["detection", "cell"])
def test_annotations_beside_detections_are_left_out_and_counted(tmp_path, found):
    region = square(WHOLE, objectType="annotation", classification={"name": "Tumour"})
    nested = feature("MultiPolygon", [[corners(WHOLE), corners((1, 1, 3, 3))]], objectType="annotation")
    line = feature("LineString", [[0, 0], [9, 9]], objectType="annotation")
    nuclei = [square(box, objectType=found, classification={"name": "Immune"}) for box in NUCLEI]
    path = written(tmp_path, [region, *nuclei, nested, line])
    with pytest.warns(UserWarning, match=r"a\.geojson: 3 annotations left out: beside detections") as said:
        features = read_features(path)
    assert len(said) == 1
    assert [len(np.unique(paint(features.outlines, (20, 20)))) - 1, features.kinds] == [3, ["Immune"] * 3]
    assert read_kinds(path) == features.kinds


@pytest.mark.parametrize(
    "typed",
    [
        lambda kind: {"properties": {"object_type": kind}},  # QuPath 0.3
        lambda kind: {"properties": {}, "id": f"Path{kind.title()}Object"},  # QuPath 0.2
    ],
)
def test_types_as_older_versions_wrote_them(tmp_path, typed):
    content = [{**square(WHOLE), **typed("annotation")}]
    content += [{**square(box), **typed("detection")} for box in NUCLEI]
    with pytest.warns(UserWarning, match="1 annotations left out"):
        assert len(read_features(written(tmp_path, content)).outlines) == 3


def test_nuclei_nested_in_their_region(tmp_path):
    nuclei = [square(box, objectType="detection") for box in NUCLEI]
    content = {"features": [square(WHOLE, objectType="annotation", childObjects=nuclei)]}
    with pytest.warns(UserWarning, match="1 annotations left out"):
        assert len(read_features(written(tmp_path, content)).outlines) == 3


def test_annotations_alone_are_the_nuclei(tmp_path, recwarn):
    content = [square(box, objectType="annotation") for box in NUCLEI]
    content.append(square((3, 3, 4, 4), objectType="annotation"))  # one within another
    assert len(read_features(written(tmp_path, content)).outlines) == 4
    assert not recwarn.list


@pytest.mark.parametrize("kind", [{"objectType": "annotation"}, {}])
def test_a_region_among_annotations_is_refused(tmp_path, kind):
    content = [*(square(box, **kind) for box in NUCLEI), square(WHOLE, **kind)]
    reason = r"feature 3 \(x = 0 to 20, y = 0 to 20\) lies round 3 others: a region, .*; delete the region,"
    path = written(tmp_path, content)
    with pytest.raises(UnreadableFile, match=rf"a\.geojson: {reason} or export the nuclei as detections"):
        read_features(path)
    assert read_kinds(path) == [""] * 4  # what it is called is known all the same


def test_a_detection_round_others_is_a_nucleus_still(tmp_path):
    content = [square(box, objectType="detection") for box in (WHOLE, *NUCLEI)]
    assert len(read_features(written(tmp_path, content)).outlines) == 4


def test_a_cell_gives_its_nucleus(tmp_path):
    cell = square((0, 0, 9, 9), objectType="cell")
    nucleus = {"type": "Polygon", "coordinates": [corners((2, 3, 5, 6))]}
    content = [{**cell, "nucleusGeometry": nucleus}, {**cell, "nucleusGeometry": None}]
    features = read_features(written(tmp_path, content))
    assert [fill(outline, (20, 20))[1].sum() for outline in features.outlines] == [9, 81]


# -- outlines and points ------------------------------------------------------------------------


def test_points_within_outlines_add_nothing(tmp_path):
    content = [square(box, objectType="detection") for box in NUCLEI]
    content.append(feature("MultiPoint", [[3, 3], [11, 4]], objectType="annotation"))
    features = read_features(written(tmp_path, content))
    assert len(features.outlines) == 3
    assert features.points.shape == (0, 2)


def test_a_point_without_an_outline_is_refused(tmp_path):
    content = [square(box) for box in NUCLEI] + [feature("MultiPoint", [[3, 3], [7.5, 4]])]
    reason = r"1 points lie in none of its outlines, the first at x = 7\.5, y = 4; outline these nuclei too"
    with pytest.raises(UnreadableFile, match=rf"a\.geojson: {reason}, .* a file of their own"):
        read_features(written(tmp_path, content))


def test_a_point_in_a_hole_is_in_no_outline(tmp_path):
    content = [feature("Polygon", [corners((0, 0, 9, 9)), corners((3, 3, 6, 6))]), feature("Point", [4, 4])]
    with pytest.raises(UnreadableFile, match="1 points lie in none"):
        read_features(written(tmp_path, content))


def test_a_region_round_points_is_no_nucleus(tmp_path):
    content = [square(WHOLE), feature("MultiPoint", [[3, 3], [7.5, 4], [9, 9]])]
    with pytest.raises(UnreadableFile, match=r"feature 0 .* lies round 3 others: a region"):
        read_features(written(tmp_path, content))


def test_points_that_were_found_within_a_region(tmp_path):
    points = [feature("Point", [x, 4], objectType="detection") for x in (3, 7, 9)]
    with pytest.warns(UserWarning, match="1 annotations left out"):
        features = read_features(written(tmp_path, [square(WHOLE, objectType="annotation"), *points]))
    assert (len(features.outlines), len(features.points)) == (0, 3)


GRID = np.argwhere(np.ones((32, 32))).astype(float)
CORNER = st.tuples(st.integers(0, 30), st.integers(0, 30))


@given(st.lists(CORNER, min_size=1, max_size=9), st.lists(CORNER, min_size=1, max_size=4))
def test_what_lies_within_agrees_with_scikit_image(outer, hole):
    outline = [np.array(ring) + np.sqrt([0.1, 0.2]) for ring in (outer, hole)]  # no line meets the grid
    exact = points_in_poly(GRID, outline[0]) ^ points_in_poly(GRID, outline[1])
    assert np.array_equal(contains(outline, GRID), exact)


def test_an_interior_point_lies_inside_whatever_the_form():
    bow = np.array([(0, 0), (0, 9), (9, 9), (9, 0), (6, 0), (6, 7), (3, 7), (3, 0)], float)
    box, far, middle = bow[:4], bow[:4] + np.array([20, 0]), bow[:4] / 3 + 3
    for outline in ([bow], [bow[::-1]], [box], [box, far], [box, middle], [middle, box], [bow[:3]]):
        assert contains(outline, interior(outline)[None]).all()
    for nothing in ([], [bow[:0]], [bow[:1]], [bow[:2]], [bow * np.nan]):
        assert np.isnan(interior(nothing)).all()
        assert not contains(nothing, GRID).any()


# -- broken files -------------------------------------------------------------------------------


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
