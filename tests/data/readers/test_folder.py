"""A folder of one's own pictures and labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nucbook import data
from nucbook.data.item import UnreadableFile
from nucbook.data.readers import folder
from tests.data.layouts import boxes, geojson, save, tile


def test_labels_of_all_kinds_in_a_folder_of_their_own(tmp_path):
    for seed, name in enumerate("abcd"):
        save(tmp_path / "images" / f"{name}.tif", tile(seed)[0])
    save(tmp_path / "labels" / "a.png", tile(0)[1].astype(np.uint16))
    np.save(tmp_path / "labels" / "b.npy", tile(1)[1])
    (tmp_path / "labels" / "c.geojson").write_text(json.dumps(geojson(boxes(2))))
    samples = data.load_folder(tmp_path, mpp=0.5)
    assert [sample.name for sample in samples] == ["a", "b", "c", "d"]
    assert [sample.labelled for sample in samples] == [True, True, True, False]
    for seed, sample in enumerate(samples[:3]):
        assert np.array_equal(sample.instances, tile(seed)[1])
    assert {sample.mpp for sample in samples} == {0.5}


def test_labels_beside_their_pictures(tmp_path):
    save(tmp_path / "a.png", tile(0)[0])
    save(tmp_path / "a_labels.png", tile(0)[1].astype(np.uint8))
    save(tmp_path / "b.png", tile(1)[0])
    (tmp_path / "b.geojson").write_text(json.dumps(geojson(boxes(1))))
    samples = data.load_folder(tmp_path)
    assert [sample.name for sample in samples] == ["a", "b"]
    assert [sample.labelled for sample in samples] == [True, True]
    save(tmp_path / "c_mask.png", tile(2)[0])  # no picture, though it could be read as one
    with pytest.raises(UnreadableFile, match=r"c_mask\.png: no picture of this name"):
        data.load_folder(tmp_path)


def test_a_class_has_one_id_throughout_the_folder(tmp_path):
    for name, kinds in (("a", ("tumour", "", "stroma")), ("b", ("stroma", "necrosis", "stroma"))):
        save(tmp_path / f"{name}.png", tile()[0])
        (tmp_path / f"{name}.geojson").write_text(json.dumps(geojson(boxes(), kinds)))
    first, second = data.load_folder(tmp_path)
    assert dict(first.class_names) == dict(second.class_names) == {1: "necrosis", 2: "stroma", 3: "tumour"}
    assert dict(first.class_of) == {1: 3, 2: 0, 3: 2}
    assert dict(second.class_of) == {1: 2, 2: 1, 3: 2}


def test_points_are_point_labels(tmp_path):
    save(tmp_path / "a.png", tile()[0])
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [4.5, 2.5]}}
    (tmp_path / "a.geojson").write_text(json.dumps({"features": [point]}))
    [sample] = data.load_folder(tmp_path)
    assert sample.points.tolist() == [[2, 4]]
    assert not sample.labelled


def test_the_region_that_nuclei_lie_in_is_no_nucleus(tmp_path):
    content = geojson([(0, 0, 24, 24), *boxes()], ("necrosis", "tumour", "", "stroma"))
    for feature, kind in zip(content["features"], ["annotation", *["detection"] * 3]):
        feature["properties"]["objectType"] = kind
    for name in "ab":
        save(tmp_path / f"{name}.png", tile()[0])
        (tmp_path / f"{name}.geojson").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="1 annotations left out") as said:
        first, _ = data.load_folder(tmp_path)
    messages = sorted(str(warning.message) for warning in said)  # read side by side
    assert [message.partition(": ")[0][-9:] for message in messages] == ["a.geojson", "b.geojson"]
    assert np.array_equal(first.instances, tile()[1])
    assert dict(first.class_names) == {1: "stroma", 2: "tumour"}
    assert first.meta["regions"] == 3


def test_points_in_outlines_give_way_to_the_centres_of_these(tmp_path):
    for name, place in (("a", [4.5, 4.5]), ("b", [4.5, 22.5])):
        save(tmp_path / f"{name}.png", tile()[0])
        content = geojson(boxes())
        content["features"].append({"type": "Feature", "geometry": {"type": "Point", "coordinates": place}})
        (tmp_path / f"{name}.geojson").write_text(json.dumps(content))
    first, second = folder.items(tmp_path)
    sample = first.read()
    assert sample.points is None
    assert len(sample.weaken("points").points) == 3
    with pytest.raises(UnreadableFile, match=r"b\.geojson: 1 points lie in none of its outlines"):
        second.read()


def test_a_point_outside_is_named_as_the_file_has_it(tmp_path):
    save(tmp_path / "a.png", tile()[0])
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [600, 20]}}
    (tmp_path / "a.geojson").write_text(json.dumps({"features": [point]}))
    with pytest.raises(UnreadableFile, match=r"a\.geojson: point x = 600, y = 20 lies outside .* 24 px wide"):
        data.load_folder(tmp_path)


def test_two_pictures_of_one_name(tmp_path):
    save(tmp_path / "a.png", tile(0)[0])
    save(tmp_path / "a.tif", tile(1)[0])
    with pytest.raises(UnreadableFile, match=r"a\.tif: a\.png beside it has the same name"):
        data.load_folder(tmp_path)


def test_labels_can_be_left_aside(tmp_path):
    save(tmp_path / "images" / "a.png", tile()[0])
    save(tmp_path / "labels" / "a.png", tile()[1].astype(np.uint16))
    assert [sample.labelled for sample in data.load_folder(tmp_path, labelled=False)] == [False]


def test_pictures_without_labels_say_what_to_do(tmp_path):
    save(tmp_path / "images" / "a.png", tile()[0])
    with pytest.raises(UnreadableFile, match=r"1 pictures but no labels; put them .* labelled=False"):
        data.load_folder(tmp_path)


def test_an_empty_folder(tmp_path):
    with pytest.raises(UnreadableFile, match="no pictures in it; put them there"):
        data.load_folder(tmp_path)
    with pytest.raises(UnreadableFile, match="absent: no such folder"):
        data.load_folder(tmp_path / "absent")


def test_a_label_without_a_picture_is_named(tmp_path):
    save(tmp_path / "images" / "a.png", tile()[0])
    save(tmp_path / "labels" / "b.png", tile()[1].astype(np.uint16))
    with pytest.raises(UnreadableFile, match=r"labels.b\.png: no picture of this name; add the picture"):
        data.load_folder(tmp_path)


def test_a_label_of_another_size_names_both(tmp_path):
    save(tmp_path / "images" / "a.png", tile()[0])
    save(tmp_path / "labels" / "a.png", np.arange(12, dtype=np.uint16).reshape(3, 4))
    with pytest.raises(UnreadableFile, match=r"images.a\.png, .*labels.a\.png: .*\(3, 4\).*\(24, 24\)"):
        data.load_folder(tmp_path)
