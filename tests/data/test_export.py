"""GeoJSON for QuPath: what is written reads back."""

import numpy as np
import tifffile

from nucbook.data.export import to_geojson, write
from nucbook.data.readers.geojson import read_features
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
    rings = [rings[0][:-1] for rings in features.outlines]
    assert (Nuclei.from_polygons(rings, labels.shape).to_labels() == (labels == 3) + 2 * (labels == 8)).all()
    scores = [f["properties"]["measurements"]["score"] for f in to_geojson(nuclei)["features"]]
    assert scores == [0.5, 0.25]
    assert (tifffile.imread(tmp_path / "deep" / "a.tif") > 0).sum() == (labels > 0).sum()


def test_rings_are_closed_and_slivers_left_out():
    line = np.zeros((9, 9), np.int32)
    line[4, 2:7] = 1
    line[7, 7] = 2
    line[0:3, 0:3] = 3
    features = to_geojson(Nuclei.from_labels(line))["features"]
    assert len(features) == 1
    ring = features[0]["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1]


def test_slides_can_do_without_a_label_map(tmp_path):
    write(two_nuclei()[1], tmp_path / "a", labels=False)
    assert not (tmp_path / "a.tif").exists()
