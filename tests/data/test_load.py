"""Every data set by name, from tiny files in its official layout."""

from __future__ import annotations

import numpy as np
import pytest

from nucbook import data
from nucbook.data.catalog import CATALOG
from nucbook.data.item import MissingDataset, UnreadableFile
from tests.data.layouts import save, tile, write

COUNTS = {
    "monuseg": {"train": 30, "test": 2},
    "kumar": {"train": 12, "validation": 4, "test": 14},
    "monuseg622": {"train": 18, "validation": 6, "test": 6},
    "tnbc": {"train": 30, "validation": 7, "test": 13},
    "cryonuseg": {"train": 4, "validation": 1, "test": 1},
    "digestpath": {"train": 2, "validation": 1, "test": 1},
    "monusac": {"train": 1, "test": 1},
    "pannuke": {"train": 2, "validation": 2, "test": 2},
    "consep": {"train": 2, "test": 2},
    "lizard": {"train": 2, "validation": 2, "test": 2},
    "chromseg": {"train": 1, "unlabelled": 1, "test": 1},
}


@pytest.mark.parametrize("name", CATALOG)
def test_a_set_is_read_from_its_layout(name, tmp_path):
    root = write(name, tmp_path)
    assert tuple(COUNTS[name]) == (CATALOG[name].parts or ("all",))
    for part, count in COUNTS[name].items():
        samples = data.load(name, part, root=root)
        assert len(samples) == count
        for sample in samples:
            assert sample.meta["dataset"] == name
            assert sample.mpp is None or abs(sample.mpp - CATALOG[name].mpp) < 0.01
            assert set(sample.meta) >= {"organ", "patient", "image"}
            assert sample.labelled == (part != "unlabelled")
            if sample.labelled:
                assert len(sample.truth) == (2 if name == "monusac" else 3)


@pytest.mark.parametrize("name", [name for name in CATALOG if name not in ("monusac", "chromseg")])
def test_the_first_label_map_is_the_truth(name, tmp_path):
    sample = data.load(name, "all", root=write(name, tmp_path))[0]
    seed = next(s for s in range(30) if np.array_equal(tile(s)[0], sample.image))
    truth = tile(seed)[1]
    assert np.array_equal(sample.instances > 0, truth > 0)
    pairs = np.unique(np.stack([sample.instances, truth])[:, truth > 0], axis=1)
    assert pairs.shape[1] == 3  # one id each, both ways


def test_samples_keep_their_order_and_names_are_unique(tmp_path):
    root = write("lizard", tmp_path)
    names = [sample.name for sample in data.load("lizard", "all", root=root)]
    listed = data.load("lizard", ("train", "validation", "test"), root=root)
    assert names == [sample.name for sample in listed]
    assert len(set(names)) == len(names) == 6


def test_kumar_is_split_by_its_paper(tmp_path):
    write("kumar", tmp_path)
    parts = {part: data.load("kumar", part, root=tmp_path) for part in CATALOG["kumar"].parts}
    organs = {part: {sample.meta["organ"] for sample in found} for part, found in parts.items()}
    assert organs["train"] == organs["validation"] == {"Breast", "Kidney", "Liver", "Prostate"}
    assert organs["test"] - organs["train"] == {"Bladder", "Colon", "Stomach"}
    names = [sample.name for found in parts.values() for sample in found]
    assert len(set(names)) == 30


def test_tnbc_patients_stay_in_one_part(tmp_path):
    write("tnbc", tmp_path)
    parts = {part: data.load("tnbc", part, root=tmp_path) for part in CATALOG["tnbc"].parts}
    patients = {part: {sample.meta["patient"] for sample in found} for part, found in parts.items()}
    assert patients == {
        "train": {"01", "02", "03", "04", "05", "06"},
        "validation": {"07", "08"},
        "test": {"09", "10", "11"},
    }


def test_classes_of_consep_are_merged_as_in_hovernet(tmp_path):
    sample = data.load("consep", "train", root=write("consep", tmp_path))[0]
    assert dict(sample.class_of) == {1: 2, 2: 3, 3: 4}  # released as 2, 4, 7
    assert sample.class_names[3] == "epithelial"


def test_classes_of_lizard_follow_its_own_order_of_ids(tmp_path):
    sample = data.load("lizard", "train", root=write("lizard", tmp_path))[0]
    assert dict(sample.class_of) == {3: 6, 1: 2, 2: 3}


def test_ambiguous_regions_of_monusac_are_not_valid(tmp_path):
    sample = data.load("monusac", "test", root=write("monusac", tmp_path))[0]
    truth = tile()[1]
    assert np.array_equal(~sample.valid, truth == 3)
    assert np.array_equal(sample.instances, np.where(truth == 3, 0, truth))
    assert dict(sample.class_of) == {1: 1, 2: 4}
    assert sample.mpp == 0.2468
    assert sample.meta["patient"] == "TCGA-2Z-A9JG"


def test_pannuke_is_lazy_and_tells_its_fold(tmp_path):
    samples = data.load("pannuke", "all", root=write("pannuke", tmp_path))
    assert not isinstance(samples, list)
    assert samples.names == [f"fold{k}_{i:04}" for k in (1, 2, 3) for i in (0, 1)]
    assert [sample.meta["fold"] for sample in samples] == [1, 1, 2, 2, 3, 3]
    assert samples[-1].meta["organ"] == "Colon"
    assert len(samples[1:3]) == 2
    assert samples[1:3][0].name == "fold1_0001"
    assert sorted(samples[0].class_of.values()) == [1, 3, 5]  # ids 7, 7 and 255 in channels 0, 2, 4


def test_chromosomes_overlap_and_have_24_classes(tmp_path):
    sample = data.load("chromseg", "train", root=write("chromseg", tmp_path))[0]
    assert sample.instances is None
    assert [sample.class_names[kind] for kind in sample.truth.classes] == ["1", "X", "Y"]
    assert np.array_equal(sample.label_map, tile()[1])


def test_label_maps_of_monuseg_go_before_its_outlines(tmp_path):
    write("monuseg", tmp_path)
    first = data.load("kumar", "train", root=tmp_path)[0]
    labels = np.zeros(first.shape, np.uint16)
    labels[3, 4] = 9
    save(tmp_path / "MoNuSeg" / "MoNuSegTrainingData" / "Labels" / f"{first.name}.png", labels)
    assert np.array_equal(data.load("kumar", "train", root=tmp_path)[0].instances, labels)


# -- what is missing, and what is wrong -------------------------------------------------------


def test_the_root_is_told_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_DATA", str(tmp_path))
    assert data.root() == tmp_path
    write("tnbc", tmp_path)
    assert len(data.load("tnbc", "test")) == 13
    monkeypatch.delenv("NUCBOOK_DATA")
    assert data.root().name == "nucbook"


@pytest.mark.parametrize("name", CATALOG)
def test_a_missing_set_says_licence_size_source_and_folder(name, tmp_path):
    with pytest.raises(MissingDataset) as caught:
        data.load(name, "all", root=tmp_path)
    entry = CATALOG[name]
    facts = (entry.title, entry.licence, entry.size, entry.source, *entry.layout)
    for fact in (*facts, str(tmp_path / entry.folder)):
        assert fact in str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)


def test_a_missing_image_of_kumar_is_named(tmp_path):
    write("kumar", tmp_path)
    lost = next((tmp_path / "MoNuSeg").rglob("TCGA-A7-A13E*.tif"))
    lost.unlink()
    with pytest.raises(UnreadableFile, match=r"TCGA-A7-A13E-01Z-00-DX1\.tif: it is missing; .* unpack"):
        data.load("kumar", "train", root=tmp_path)


def test_a_mask_of_another_size_names_both_files(tmp_path):
    write("tnbc", tmp_path)
    save(tmp_path / "TNBC" / "GT_09" / "09_1.png", np.ones((5, 7), np.uint8))
    with pytest.raises(UnreadableFile, match=r"Slide_09.09_1\.png, .*GT_09.09_1\.png: .*\(5, 7\).*belong"):
        data.load("tnbc", "test", root=tmp_path)


def test_unknown_names_and_parts_list_what_there_is(tmp_path):
    with pytest.raises(ValueError, match=r"no data set 'cityscapes'; there are monuseg, .*, metaphase"):
        data.load("cityscapes")
    with pytest.raises(ValueError, match=r"consep has no part 'validation'; there is train, test, all"):
        data.load("consep", "validation", root=tmp_path)
    with pytest.raises(
        ValueError, match=r"cryonuseg has no part 'fold1'; there is train, validation, test, all\."
    ):
        data.load("cryonuseg", "fold1", root=tmp_path)
    with pytest.raises(ValueError, match="tissue has no part 'fold1'"):
        data.load("tissue", "fold1")
    with pytest.raises(ValueError, match=r"has no part \(\)"):
        data.load("tnbc", (), root=tmp_path)


# -- what a chapter shows ---------------------------------------------------------------------


def test_a_chapter_shows_simulated_images_at_quick(monkeypatch, tmp_path):
    monkeypatch.setenv("NUCBOOK_DATA", str(write("kumar", tmp_path)))
    monkeypatch.delenv("NUCBOOK_PROFILE", raising=False)
    shown = data.for_chapter("kumar", "validation")
    assert {sample.meta["dataset"] for sample in shown} == {"tissue"}
    monkeypatch.setenv("NUCBOOK_PROFILE", "short")
    assert {sample.meta["dataset"] for sample in data.for_chapter("kumar", "validation")} == {"kumar"}


def test_chromosomes_stand_in_for_chromosomes(monkeypatch):
    monkeypatch.setenv("NUCBOOK_PROFILE", "quick")
    assert {sample.meta["dataset"] for sample in data.for_chapter("chromseg", "validation")} == {"metaphase"}


def test_cryonuseg_is_cut_as_bass_cuts_it(tmp_path):
    """18 / 6 / 6 of the 30 images, each in one part."""
    organs = [f"Organ{number:02}" for number in range(10)]
    for name in (f"Human_{organ}_{number:02}" for organ in organs for number in (1, 2, 3)):
        home = tmp_path / "CryoNuSeg"
        save(home / "tissue images" / f"{name}.tif", tile(0)[0])
        masks = home / "Annotator 1 (biologist)" / "label masks modify"
        save(masks / f"{name}.tif", tile(0)[1].astype(np.uint16))
    parts = {part: data.items("cryonuseg", part, tmp_path) for part in ("train", "validation", "test")}
    assert [len(items) for items in parts.values()] == [18, 6, 6]
    names = [item.name for items in parts.values() for item in items]
    assert len(set(names)) == 30
