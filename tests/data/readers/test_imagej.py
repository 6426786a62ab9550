"""ImageJ's zips of outlines."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from nucbook import data
from nucbook.data.item import UnreadableFile
from nucbook.data.readers.imagej import read_bundle, read_pair_of_rois, read_rois
from tests.data.layouts import boxes, roi_zip, save, tile, write

IMAGE, LABELS = tile()


def zipped(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_outlines_are_painted_to_the_pixel(tmp_path):
    (tmp_path / "r.zip").write_bytes(roi_zip(boxes()))
    sample = read_pair_of_rois(save(tmp_path / "i.tif", IMAGE), tmp_path / "r.zip", "a", 0.25, {})
    assert np.array_equal(sample.instances, LABELS)
    assert sample.meta["regions"] == 3


def test_a_bundle_holds_picture_and_outlines(tmp_path):
    picture = save(tmp_path / "i.tif", IMAGE).read_bytes()
    members = {"i.tif": picture, "RoiSet.zip": roi_zip(boxes()), "Centroid.txt": b"1 x 2 um"}
    bundle = zipped(tmp_path / "b.zip", members)
    sample = read_bundle(bundle, "a", 0.25, {})
    assert np.array_equal(sample.image, IMAGE)
    assert np.array_equal(sample.instances, LABELS)


def test_outlines_are_read_where_the_masks_are_not_there(tmp_path):
    write("cryonuseg", tmp_path)
    markup = tmp_path / "CryoNuSeg" / "Annotator 1 (biologist)"
    truth = data.load("cryonuseg", "all", root=tmp_path)
    for mask in (markup / "label masks modify").iterdir():
        mask.unlink()
    (markup / "Imagj_zips").mkdir()
    for seed, sample in enumerate(sorted(truth, key=lambda sample: sample.name)):
        (markup / "Imagj_zips" / f"{sample.name}.zip").write_bytes(roi_zip(boxes(seed)))
    for before, after in zip(truth, data.load("cryonuseg", "all", root=tmp_path)):
        assert np.array_equal(before.instances, after.instances)
        assert after.meta["organ"] in ("AdrenalGland", "Larynx")


def test_broken_zips_are_named(tmp_path):
    whole = roi_zip(boxes())
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match=r"cut\.zip: no intact zip"):
        read_rois(tmp_path / "cut.zip")
    with pytest.raises(UnreadableFile, match=r"e\.zip: no \.roi file in it; save the regions from ImageJ"):
        read_rois(zipped(tmp_path / "e.zip", {"readme.txt": b"nothing"}))
    with pytest.raises(UnreadableFile, match=r"r\.zip.1\.roi: no intact ImageJ outline"):
        read_rois(zipped(tmp_path / "r.zip", {"1.roi": b"Iout" + bytes(3)}))


def test_a_bundle_without_its_picture(tmp_path):
    outlines = {"RoiSet.zip": roi_zip(boxes())}
    with pytest.raises(
        UnreadableFile, match=r"b\.zip: 0 pictures and 1 zips of outlines in it, expected one"
    ):
        read_bundle(zipped(tmp_path / "b.zip", outlines), "a", 0.25, {})
    with pytest.raises(UnreadableFile, match=r"c\.zip.i\.tif: no intact picture"):
        read_bundle(zipped(tmp_path / "c.zip", {"i.tif": b"II*", **outlines}), "a", 0.25, {})
