"""GeoJSON for QuPath: what is written reads back."""

import cv2
import numpy as np
import tifffile

from nucbook.data.export import to_geojson, write
from nucbook.data.readers.geojson import read_features
from nucbook.data.readers.polygons import paint
from nucbook.nuclei import Nuclei


def two_nuclei():
    labels = np.zeros((30, 40), np.int32)
    labels[4:14, 5:20] = 3
    labels[20:28, 25:33] = 8
    return labels, Nuclei.from_labels(labels, scores=[0.5, 0.25], class_of={3: 2, 8: 0})


def test_polygons_classes_and_scores_come_back(tmp_path):
    labels, nuclei = two_nuclei()
    write(nuclei, tmp_path / "deep" / "a", {2: "lymphocyte"})
    features = read_features(tmp_path / "deep" / "a.geojson")
    assert features.kinds == ["lymphocyte", ""]
    assert (paint(features.outlines, labels.shape) == (labels == 3) + 2 * (labels == 8)).all()
    scores = [f["properties"]["measurements"]["score"] for f in to_geojson(nuclei)["features"]]
    assert scores == [0.5, 0.25]
    assert (tifffile.imread(tmp_path / "deep" / "a.tif") > 0).sum() == (labels > 0).sum()


def test_rings_are_closed_hold_the_area_and_keep_slivers():
    labels = np.zeros((9, 9), np.int32)
    labels[4, 2:7] = 1
    labels[7, 7] = 2
    labels[0:3, 0:3] = 3
    rings = [f["geometry"]["coordinates"][0] for f in to_geojson(Nuclei.from_labels(labels))["features"]]
    assert all(ring[0] == ring[-1] for ring in rings)
    assert [cv2.contourArea(np.float32(ring)) for ring in rings] == [4.5, 0.5, 8.5]
    assert min(min(ring) for ring in rings)[0] == 0  # from the corner of the first pixel


def test_an_empty_mask_has_no_polygon():
    assert to_geojson(Nuclei((4, 4), [(0, 0, 2, 2)], [np.zeros((2, 2), bool)]))["features"] == []


def test_slides_can_do_without_a_label_map(tmp_path):
    write(two_nuclei()[1], tmp_path / "a", labels=False)
    assert not (tmp_path / "a.tif").exists()
