"""A check counts, goes on after an error, and lists them all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nucbook.data.catalog import CATALOG
from nucbook.data.check import Count, check
from nucbook.data.item import MissingDataset
from tests.data.layouts import aperio_xml, boxes, centres, save, tile, write


@pytest.mark.parametrize("name", CATALOG)
def test_a_whole_set_is_in_order(name, tmp_path):
    report = check(name, write(name, tmp_path))
    assert report.ok
    assert str(report).startswith(f"{name} in {tmp_path}")
    assert list(report.parts) == list(CATALOG[name].parts or ("all",))


def test_every_broken_file_is_listed_and_the_rest_is_counted(tmp_path):
    home = write("tnbc", tmp_path) / "TNBC"
    (home / "Slide_01" / "01_1.png").write_bytes(b"cut")
    (home / "GT_02" / "02_1.png").unlink()
    save(home / "GT_08" / "08_1.png", np.ones((3, 4), np.uint8))
    report = check("tnbc", tmp_path)
    assert not report.ok
    assert len(report.problems) == 3
    for file, problem in zip(("01_1.png: no intact", "02_1.png: it is missing", "(3, 4)"), report.problems):
        assert file in problem
    images = {part: count.images for part, count in report.parts.items()}
    assert images == {"train": 28, "validation": 6, "test": 13}
    assert str(report).count("PROBLEM: ") == 3


def test_regions_without_a_pixel_are_counted_apart(tmp_path):
    write("monuseg", tmp_path)
    xml = tmp_path / "MoNuSeg" / "MoNuSegTestData" / "TCGA-2Z-A9J9-01A-01-TS1.xml"
    outlines = [centres(box) for box in boxes()]
    xml.write_text(aperio_xml({"": [*outlines, [(1, 1), (9, 9)], outlines[0]]}))  # a line, a hidden one
    report = check("monuseg", tmp_path)
    assert report.ok
    assert report.parts["test"] == Count(images=2, unlabelled=0, regions=8, nuclei=6)
    assert report.parts["test"].dropped == 2
    assert "test: 2 images, 6 nuclei, 2 of 8 regions left no pixel" in str(report)


def test_counts_unlike_the_release_are_noted(tmp_path):
    report = check("consep", write("consep", tmp_path))
    assert report.notes[0].startswith("train has 2 images and 6 nuclei; the release that the catalogue knows")
    assert report.notes[0].endswith("has 27 and 15,555.")


def test_conversions_are_noted(tmp_path):
    home = write("cryonuseg", tmp_path) / "CryoNuSeg"
    save(home / "tissue images" / "Human_Larynx_01.tif", tile(1)[0][..., 0])
    assert ["grey repeated" in note for note in check("cryonuseg", tmp_path).notes] == [True]


def test_a_missing_part_is_a_problem_and_a_missing_set_an_error(tmp_path):
    with pytest.raises(MissingDataset, match="CoNSeP, part 'train', is not in"):
        check("consep", tmp_path)
    for file in (write("consep", tmp_path) / "CoNSeP" / "Test" / "Images").iterdir():
        file.unlink()
    report = check("consep", tmp_path)
    assert report.problems == ["part test is missing."]
    assert report.parts["train"].images == 2


def test_a_fold_that_cannot_be_listed_is_a_problem(tmp_path):
    masks = write("pannuke", tmp_path) / "PanNuke" / "Fold 2" / "masks" / "fold2" / "masks.npy"
    masks.write_bytes(masks.read_bytes()[:200])
    report = check("pannuke", tmp_path)
    assert len(report.problems) == 1
    assert "masks.npy: no intact .npy array" in report.problems[0]
    assert list(report.parts) == ["train", "test"]


def test_unlabelled_images_are_counted(tmp_path):
    report = check("chromseg", write("chromseg", tmp_path))
    assert report.parts["unlabelled"] == Count(images=1, unlabelled=1)
    assert "unlabelled: 1 images, 0 nuclei, 1 images without masks" in str(report)


def test_points_are_counted(tmp_path):
    save(tmp_path / "a.png", tile()[0])
    places = {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[4, 2], [8, 9]]}}
    (tmp_path / "a.geojson").write_text(json.dumps(places))
    assert "all: 1 images, 0 nuclei, 2 points, 1 images without masks" in str(check(str(tmp_path)))


def test_a_folder_of_ones_own(tmp_path):
    save(tmp_path / "images" / "a.png", tile()[0])
    save(tmp_path / "labels" / "a.png", tile()[1].astype(np.uint16))
    save(tmp_path / "labels" / "lost.png", tile()[1].astype(np.uint16))
    report = check(str(tmp_path))
    assert report.parts["all"] == Count(images=1, regions=3, nuclei=3)
    assert ["lost.png: no picture of this name" in problem for problem in report.problems] == [True]
    (tmp_path / "empty").mkdir()
    assert "no pictures in it" in check(str(tmp_path / "empty")).problems[0]


def test_neither_a_set_nor_a_folder(tmp_path):
    with pytest.raises(ValueError, match="'nowhere' is neither a folder nor a data set; there are monuseg"):
        check("nowhere", tmp_path)
