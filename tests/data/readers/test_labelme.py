"""LabelMe: polygons that overlap, keys in two spellings, pictures beside or inside."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from nucbook.data.item import UnreadableFile
from nucbook.data.readers.labelme import read_sample, read_shapes
from tests.data.layouts import boxes, labelme, save, tile

IMAGE, LABELS = tile()
CLASSES = {1: "1", 23: "23", 24: "24"}


def written(folder, content) -> object:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "a.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize("snake", [False, True])
def test_polygons_are_painted_to_the_pixel(tmp_path, snake):
    save(tmp_path / "a.png", IMAGE)
    sample = read_sample(written(tmp_path, labelme("a.png", boxes(), snake=snake)), "a", None, {}, CLASSES)
    assert np.array_equal(sample.label_map, LABELS)
    assert sample.truth.classes.tolist() == [1, 23, 24]
    assert sample.meta["regions"] == 3


def test_polygons_may_overlap(tmp_path):
    save(tmp_path / "a.png", IMAGE)
    found = [(2, 2, 10, 10), (6, 6, 14, 14)]
    sample = read_sample(written(tmp_path, labelme("a.png", found)), "a", None, {}, {})
    assert sample.truth.areas.tolist() == [64, 64]
    assert sample.truth.classes.tolist() == [0, 0]


@pytest.mark.parametrize("image_path", ["a.png", "../images/a.png", r"C:\data\spreads\a.png"])
def test_the_picture_is_found_beside_or_in_images(tmp_path, image_path):
    save(tmp_path / "images" / "a.png", IMAGE)
    path = written(tmp_path / "annotations", labelme(image_path, boxes()))
    assert np.array_equal(read_sample(path, "a", None, {}, CLASSES).image, IMAGE)


def test_the_picture_may_be_in_the_file(tmp_path):
    data = base64.b64encode(save(tmp_path / "elsewhere.png", IMAGE).read_bytes()).decode()
    path = written(tmp_path, {**labelme("a.png", boxes()), "imageData": data})
    assert np.array_equal(read_sample(path, "a", None, {}, CLASSES).image, IMAGE)
    path = written(tmp_path, {**labelme("a.png", boxes()), "imageData": "no*picture"})
    with pytest.raises(UnreadableFile, match=r"a\.json: "):
        read_sample(path, "a", None, {}, CLASSES)


def test_a_missing_picture_says_where_to_put_it(tmp_path):
    path = written(tmp_path, labelme("a.png", boxes(), snake=True))
    with pytest.raises(UnreadableFile, match=r"a\.json: its picture a\.png is missing; put it beside"):
        read_sample(path, "a", None, {}, CLASSES)


def test_a_picture_of_another_size_is_refused(tmp_path):
    save(tmp_path / "a.png", IMAGE[:-2])
    path = written(tmp_path, labelme("a.png", boxes()))
    with pytest.raises(UnreadableFile, match="drawn on 24×24 pixels, the picture has 22×24; find"):
        read_sample(path, "a", None, {}, CLASSES)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"shapes": [', "no intact JSON"),
        ("[1, 2]", "no list of shapes in it; save it from LabelMe again"),
        ({"version": 5}, "no list of shapes in it"),
        ({"shapes": [{"label": "1"}]}, "shape 0 has no points"),
        ({"shapes": [{"label": "1", "points": [[1, 2], [3]]}]}, "shape 0 has no points"),
        ({"shapes": [{"points": [[1, 2], [3, 4]], "shape_type": "line"}]}, "shape 0 is a line; redraw it"),
    ],
)
def test_broken_files_are_named(tmp_path, content, reason):
    with pytest.raises(UnreadableFile, match=rf"a\.json: {reason}"):
        read_shapes(written(tmp_path, content))
