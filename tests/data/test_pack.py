"""A pack is lossless, keeps to its size, and says what it left out."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from PIL import Image

from nucbook import data
from nucbook.data import pack
from nucbook.data.catalog import CATALOG
from nucbook.data.item import Item, MissingDataset, UnreadableFile
from nucbook.nuclei import Nuclei
from nucbook.sample import Sample
from tests.data.layouts import tile, write


def parts_of(name, root):
    return {part: data.items(name, part, root) for part in CATALOG[name].parts or ("all",)}


def assert_identical(a, b):
    if isinstance(a, Sample | Nuclei):
        for field in fields(a):
            assert_identical(getattr(a, field.name), getattr(b, field.name))
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)
    elif isinstance(a, tuple) and a and isinstance(a[0], np.ndarray):
        assert len(a) == len(b)
        for one, other in zip(a, b):
            assert_identical(one, other)
    else:
        assert a == b


@pytest.mark.parametrize("name", CATALOG)
def test_a_set_comes_back_identical(name, tmp_path):
    root = write(name, tmp_path / "root")
    packed = pack.write(name, parts_of(name, root), tmp_path / "out")
    assert packed.left_out == {}
    assert packed.size == sum(file.stat().st_size for file in packed.folder.rglob("*") if file.is_file())
    for part in CATALOG[name].parts or ("all",):
        before, after = data.load(name, part, root=root), data.load(name, part, root=tmp_path / "out")
        assert len(before) == len(after) == len(packed.taken[part])
        for one, other in zip(before, after):
            assert_identical(one, other)


def test_everything_a_sample_can_hold_comes_back(tmp_path):
    image, labels = tile()
    masks = [np.ones((3, 4), bool), np.eye(5, dtype=bool)]
    boxes = np.array([[0, 0, 3, 4], [1, 2, 6, 7]])
    rotated = np.arange(10).reshape(2, 5)
    samples = [
        Sample(image, points=np.array([[0.1, 2], [3, 4.7]]), mpp=1 / 3, meta={"patient": None}),
        Sample(image, labels, class_of={1: 2, 3: 1}, class_names={1: "a", 2: "ß"}, valid=labels != 2),
        Sample(image, np.where(labels == 2, 2**20, labels), name="large ids"),
        Sample(image, np.where(labels == 2, 255, 0), name="two values"),
        Sample(image, labels * 0, name="empty"),
        Sample(image, nuclei=Nuclei(image.shape[:2], boxes, masks, [0.5, 1 / 3], [1, 24], rotated)),
        Sample(image, nuclei=Nuclei(image.shape[:2]), name="no nuclei"),
        Sample(image, name="unlabelled"),
    ]
    items = [Item(sample.name, (tmp_path / "none",), lambda sample=sample: sample) for sample in samples]
    (tmp_path / "none").touch()
    packed = pack.write("mine", {"all": items}, tmp_path / "out")
    for sample, item in zip(samples, pack.items(packed.folder, "all")):
        assert_identical(sample, item.read())


def test_the_original_file_is_kept_where_it_is_smaller(tmp_path):
    root = write("tnbc", tmp_path / "root", size=64)
    for path in (root / "TNBC").glob("Slide_*/*.png"):
        Image.fromarray(tile(int(path.stem[:2]), 64)[0]).save(path, "JPEG", quality=30)
    packed = pack.write("tnbc", parts_of("tnbc", root), tmp_path / "out")
    first = next((root / "TNBC" / "Slide_01").iterdir())
    assert (packed.folder / "train" / "0000.png").read_bytes() == first.read_bytes()


def test_a_small_pack_gives_every_part_its_share(tmp_path):
    root = write("kumar", tmp_path / "root", size=64)
    whole = pack.write("kumar", parts_of("kumar", root), tmp_path / "whole").size / 1e6
    packed = pack.write("kumar", parts_of("kumar", root), tmp_path / "half", max_mb=whole / 2)
    assert packed.size <= whole / 2 * 1e6
    for part, total in (("train", 12), ("validation", 4), ("test", 14)):
        taken, left_out = packed.taken[part], packed.left_out[part]
        assert len(taken) + len(left_out) == total
        assert abs(len(taken) - total / 2) <= 2
        with pytest.warns(UserWarning, match=rf"this pack holds {len(taken)} of {total} {part} images"):
            found = data.items("kumar", part, tmp_path / "half")
        assert [item.name for item in found] == taken


def test_the_first_to_fit_is_for_training(tmp_path):
    root = write("consep", tmp_path / "root", size=64)
    whole = pack.write("consep", parts_of("consep", root), tmp_path / "whole").size / 1e6
    packed = pack.write("consep", parts_of("consep", root), tmp_path / "quarter", max_mb=whole * 0.4)
    assert list(packed.taken) == ["train"]
    with pytest.raises(MissingDataset, match="part 'test'"):
        data.load("consep", "test", root=tmp_path / "quarter")


def test_the_release_goes_before_a_pack(tmp_path):
    root = write("cryonuseg", tmp_path / "root")
    packed = pack.write("cryonuseg", parts_of("cryonuseg", root), root)
    assert packed.folder.name == "cryonuseg"
    assert data.items("cryonuseg", "all", root)[0].files[0].parent.name == "tissue images"


def test_nothing_is_left_behind_by_a_pack_that_failed(tmp_path):
    root = write("tnbc", tmp_path / "root")
    with pytest.raises(ValueError, match=r"not one image of tnbc fits into 0\.0001 MB; allow more\."):
        pack.write("tnbc", parts_of("tnbc", root), tmp_path / "out", max_mb=1e-4)
    (root / "TNBC" / "GT_05" / "05_1.png").write_bytes(b"cut")
    with pytest.raises(UnreadableFile, match=r"05_1\.png"):
        pack.write("tnbc", parts_of("tnbc", root), tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_folder_that_is_there_is_not_touched(tmp_path):
    root = write("tnbc", tmp_path / "root")
    (tmp_path / "out" / "tnbc").mkdir(parents=True)
    with pytest.raises(FileExistsError, match=r"tnbc is there already; remove it, or pack to"):
        pack.write("tnbc", parts_of("tnbc", root), tmp_path / "out")


def test_a_broken_pack_is_named(tmp_path):
    root = write("chromseg", tmp_path / "root")
    packed = pack.write("chromseg", parts_of("chromseg", root), tmp_path / "out")
    labels = packed.folder / "train" / "0000_labels.npz"
    labels.write_bytes(labels.read_bytes()[:100])
    with pytest.raises(UnreadableFile, match=r"0000_labels\.npz: no labels of a pack .*; pack the set"):
        data.load("chromseg", "train", root=tmp_path / "out")
    (packed.folder / "pack.json").write_text(json.dumps({"samples": []}))
    with pytest.raises(UnreadableFile, match=r"pack\.json: no manifest of a pack"):
        data.load("chromseg", "train", root=tmp_path / "out")
    (packed.folder / "pack.json").write_text('{"samples":')
    with pytest.raises(UnreadableFile, match=r"pack\.json: no intact JSON"):
        data.load("chromseg", "train", root=tmp_path / "out")
