"""The real files, where `NUCBOOK_DATA` has them: counts, classes, what overlaps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from nucbook import data
from nucbook.data.check import check
from nucbook.data.readers.aperio import read_regions
from nucbook.data.readers.labelme import read_shapes
from nucbook.data.readers.polygons import paint, to_nuclei

ROOT = Path(os.environ.get("NUCBOOK_DATA", "/nonexistent"))

pytestmark = pytest.mark.real


def needs(*folders: str):
    missing = [folder for folder in folders if not (ROOT / folder).is_dir()]
    return pytest.mark.skipif(bool(missing), reason=f"NUCBOOK_DATA has no {', '.join(missing)}")


@pytest.mark.parametrize(
    ("name", "folder", "counts"),
    [
        ("monuseg", "MoNuSeg", {"train": (30, 16_958), "test": (14, 6_697)}),
        ("kumar", "MoNuSeg", {"train": (12, 6_842), "validation": (4, 3_065), "test": (14, 7_051)}),
        (
            "monuseg622",
            "MoNuSeg",
            {"train": (18, 10_891), "validation": (6, 3_751), "test": (6, 2_316)},
        ),
        ("tnbc", "TNBC", {"train": (30, 2_155), "validation": (7, 1_002), "test": (13, 871)}),
        ("consep", "CoNSeP", {"train": (27, 15_555), "test": (14, 8_777)}),
    ],
)
def test_images_and_nuclei(name, folder, counts):
    if not (ROOT / folder).is_dir():
        pytest.skip(f"NUCBOOK_DATA has no {folder}")
    report = check(name)
    assert report.ok
    assert report.notes == []
    assert {part: (count.images, count.nuclei) for part, count in report.parts.items()} == counts


@needs("MoNuSeg")
def test_every_region_of_monuseg_test_leaves_a_pixel():
    samples = data.load("monuseg", "test")
    assert sum(sample.meta["regions"] for sample in samples) == 6_697
    assert all(0.24 < sample.mpp < 0.26 for sample in samples)
    assert {sample.meta["organ"] for sample in samples} >= {"Brain", "Lung"}


@needs("MoNuSeg")
def test_outlines_agree_with_the_label_maps():
    home = ROOT / "MoNuSeg" / "MoNuSegTrainingData"
    labels = {sample.name: sample.instances for sample in data.load("monuseg", "train")}
    found = sorted((home / "Annotations").glob("*.xml"))
    assert found
    for path in found:
        ours, theirs = paint(read_regions(path).outlines, (1000, 1000)), labels[path.stem]
        iou = np.count_nonzero((ours > 0) & (theirs > 0)) / np.count_nonzero((ours > 0) | (theirs > 0))
        assert iou > (0.89 if "B0-5710" in path.stem else 0.97)  # that label map is of another revision


@needs("MoNuSeg")
def test_shared_pixels_go_where_the_label_maps_put_them():
    path = ROOT / "MoNuSeg" / "MoNuSegTrainingData" / "Annotations" / "TCGA-21-5784-01Z-00-DX1.xml"
    theirs = next(sample for sample in data.load("monuseg", "train") if sample.name == path.stem).instances
    outlines = read_regions(path).outlines
    first, last = paint(outlines, theirs.shape), paint(outlines[::-1], theirs.shape)
    last = np.where(last > 0, len(outlines) + 1 - last, 0)
    contested = (first != last) & (theirs > 0)
    assert contested.sum() > 1000
    assert (theirs == first)[contested].mean() > 0.9


@needs("CoNSeP")
def test_classes_of_consep():
    kinds = [kind for sample in data.load("consep", "all") for kind in sample.class_of.values()]
    assert len(kinds) == 24_332
    assert set(kinds) == {1, 2, 3, 4}


@needs("samples/CryoNuSeg")
def test_the_first_samples_of_cryonuseg():
    samples = data.load("cryonuseg", root=ROOT / "samples")
    regions = {sample.name: sample.meta["regions"] for sample in samples}
    assert regions == {"TCGA-DE-A4MA": 59, "TCGA-S4-A8RO": 117}
    for sample in samples:
        assert sample.shape == (512, 512)
        darkness = 255 - sample.image[..., 0].astype(float)
        inside = sample.instances > 0
        assert darkness[inside].mean() > darkness[~inside].mean() + 20


@needs("samples/MoNuSAC")
def test_classes_of_monusac():
    [path] = (ROOT / "samples" / "MoNuSAC").rglob("*.xml")
    regions = read_regions(path)
    assert set(regions.kinds) <= {"Epithelial", "Lymphocyte", "Macrophage", "Neutrophil"}
    assert regions.kinds
    assert regions.mpp == 0.2468


@needs("samples/chromosomes")
def test_chromosomes_of_24_classes_overlap():
    count, kinds, shared = 0, set(), 0
    for path in (ROOT / "samples" / "chromosomes").rglob("*.json"):
        shapes = read_shapes(path)
        count += len(shapes.outlines)
        kinds |= set(shapes.labels)
        nuclei = to_nuclei(shapes.outlines, [int(label) for label in shapes.labels], shapes.size)
        assert len(nuclei) == len(shapes.outlines)
        shared += nuclei.areas.sum() - np.count_nonzero(nuclei.to_labels())
    assert count == 642
    assert kinds == {str(i) for i in range(1, 25)}
    assert shared > 0
