"""Aperio XML: regions, classes, and everything that can be wrong with one."""

from __future__ import annotations

import numpy as np
import pytest

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.aperio import read_regions, read_sample
from tests.data.layouts import aperio_xml, boxes, centres, save, tile

BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY one "lol"><!ENTITY two "&one;&one;&one;&one;&one;&one;&one;&one;">]>
<Annotations><Annotation><Regions><Region Id="1">&two;</Region></Regions></Annotation></Annotations>"""


def written(tmp_path, text: str):
    path = tmp_path / "a.xml"
    path.write_text(text)
    return path


def test_x_is_the_column_and_y_the_row(tmp_path):
    text = aperio_xml({"Description": [[(1, 9), (1, 12), (4, 12)]]}, mpp=0.2468)
    regions = read_regions(written(tmp_path, text))
    assert regions.outlines[0][0].tolist() == [[1, 9], [1, 12], [4, 12]]
    assert regions.kinds == [""]
    assert regions.mpp == 0.2468


def test_the_class_is_the_name_of_the_layer(tmp_path):
    outline = centres(boxes()[0])
    text = aperio_xml({"Epithelial": [outline, outline], "Lymphocyte": [], "Neutrophil": [outline]}, mpp=None)
    regions = read_regions(written(tmp_path, text))
    assert regions.kinds == ["Epithelial", "Epithelial", "Neutrophil"]
    assert regions.mpp is None


def test_regions_of_two_vertices_are_counted_and_leave_no_pixel(tmp_path):
    text = aperio_xml({"Description": [centres(boxes()[0]), [(5, 5), (9, 9)], [], centres(boxes()[2])]})
    sample = read_sample(save(tmp_path / "a.tif", tile()[0]), written(tmp_path, text), "a", None, {})
    assert sample.meta["regions"] == 4
    assert np.unique(sample.instances).tolist() == [0, 1, 4]
    assert sample.mpp == 0.25


def test_a_layer_without_regions_is_an_image_without_nuclei(tmp_path):
    text = aperio_xml({"Description": []})
    sample = read_sample(save(tmp_path / "a.tif", tile()[0]), written(tmp_path, text), "a", 0.25, {})
    assert sample.labelled
    assert not sample.instances.any()


def test_entity_bombs_are_refused(tmp_path):
    with pytest.raises(UnreadableFile, match=r"a\.xml: refused as unsafe XML .*; .* need no entities"):
        read_regions(written(tmp_path, BOMB))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"a\.xml: no intact XML \(no element found"),
        (aperio_xml({"Description": [centres(boxes()[0])]})[:120], "no intact XML"),
        ("<Annotations/>", r"a\.xml: no <Annotation> layer in it; export the regions"),
        (aperio_xml({"": [[(1, 2), ("x", 3)]]}), r"region 1 has a vertex without numbers \(could"),
        (aperio_xml({"": [[(1, 2), (float("nan"), 3)]]}), "region 1 has a vertex that is not finite"),
        ('<A><Annotation><Region Id="7"><Vertex X="1"/></Region></Annotation></A>', "region 7 has a vertex"),
    ],
)
def test_broken_files_are_named(tmp_path, text, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read_regions(written(tmp_path, text))


@pytest.mark.parametrize("mpp", ["", "nan", "-1", "0", "x"])
def test_a_senseless_resolution_counts_as_none(tmp_path, mpp):
    text = f'<Annotations MicronsPerPixel="{mpp}"><Annotation/></Annotations>'
    assert read_regions(written(tmp_path, text)).mpp is None
