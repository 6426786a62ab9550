"""The ten published folds: which images they hold out, and whose."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from nucbook import data
from nucbook.data.layouts import KUMAR
from nucbook.sample import Sample
from nucbook.split import Split

FOLDS = json.loads(files("nucbook.papers.weaknucleiseg").joinpath("folds.json").read_text(encoding="utf-8"))
PARTS = ("train", "validation", "test")
REAL = {"kumar": "MoNuSeg", "tnbc": "TNBC"}
ROOT = Path(os.environ.get("NUCBOOK_DATA", "/nonexistent"))


def held_out(dataset):
    """Names in the order of the folds."""
    return [name for fold in FOLDS[dataset] for name in fold]


def named(name, patient):
    labels = np.eye(4, dtype=np.int32)
    return Sample(np.zeros((4, 4, 3), np.uint8), labels, name=name, meta={"patient": patient})


@pytest.mark.parametrize(("dataset", "images", "each"), [("kumar", 30, 3), ("tnbc", 50, 5)])
def test_ten_folds_hold_out_each_image_once(dataset, images, each):
    assert [len(fold) for fold in FOLDS[dataset]] == [each] * 10
    assert len(set(held_out(dataset))) == images
    assert FOLDS["source"].startswith("The ten folds released with Liu et al. 2022")


def test_multiorgan_is_what_kumar_has():
    assert sorted(held_out("kumar")) == sorted(name for part in PARTS for name in KUMAR[part])


def test_nine_of_ten_folds_of_tnbc_divide_a_patient():
    patient = lambda name: name.partition("_")[0]
    divided = []
    for number, fold in enumerate(FOLDS["tnbc"]):
        tested = {patient(name) for name in fold}
        trained = {patient(name) for name in held_out("tnbc") if name not in fold}
        if tested & trained:
            divided.append(number)
    assert divided == [0, 1, 3, 4, 5, 6, 7, 8, 9]  # fold 2 holds out all of patient 03


@pytest.mark.parametrize("dataset", list(REAL))
def test_splits_are_made_of_them(dataset):
    samples = [named(name, name.partition("_")[0]) for name in held_out(dataset)]
    splits = [
        Split.make(samples, labelled=1, validation=0.1, folds=FOLDS[dataset], fold=fold) for fold in range(10)
    ]
    assert [sorted(split.test) for split in splits] == [sorted(fold) for fold in FOLDS[dataset]]
    parts = ("labelled", "unlabelled", "validation", "test")
    sizes = {"kumar": [24, 0, 3, 3], "tnbc": [40, 0, 5, 5]}[dataset]
    assert all([len(getattr(split, part)) for part in parts] == sizes for split in splits)


@pytest.mark.parametrize("dataset", list(REAL))
def test_names_are_those_of_the_real_files(dataset):
    if not (ROOT / REAL[dataset]).is_dir():
        pytest.skip(f"NUCBOOK_DATA has no {REAL[dataset]}")
    items = [item for part in PARTS for item in data.items(dataset, part)]
    assert sorted(held_out(dataset)) == sorted(item.name for item in items)
