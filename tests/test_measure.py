"""What a run learns from: fractions of patches or images, drawn by seed; and what is scored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nucbook import Method, data
from nucbook.data.tissue import simulate
from nucbook.measure import costs, fraction_of, parts_of, require, score
from nucbook.method import config_of, find
from nucbook.metrics import KEYS, evaluate_detections
from nucbook.nuclei import Nuclei
from nucbook.papers.whichpixel.config import Config
from nucbook.profile import change
from nucbook.rows import Column, Row
from tests.data.layouts import write


def dealt(dataset, profile, labels, patch=256, seed=0, method="hovernet"):
    config = config_of(method).quick()
    config = change(config, {"patch": patch}) if method == "hovernet" else config
    return parts_of(Row("row", method, dataset, labels), find(method), config, profile, seed)


def names(samples):
    return {sample.name for sample in samples}


def test_fractions_are_of_patches_and_lie_within_each_other():
    few, more = (dealt("monuseg", "quick", labels) for labels in ("1/16", "1/4"))
    assert (len(few.labelled), len(few.unlabelled)) == (3, 45)
    assert (len(more.labelled), len(more.unlabelled)) == (12, 36)
    assert names(few.labelled) < names(more.labelled)
    assert all(sample.labelled for sample in few.labelled)
    assert not any(sample.labelled or sample.points is not None for sample in few.unlabelled)
    assert names(dealt("monuseg", "quick", "1/16", seed=1).labelled) != names(few.labelled)


def test_patches_are_cut_once_and_bear_the_names_that_their_split_has():
    parts = dealt("monuseg", "quick", "1/4", patch=128)
    assert {sample.shape for sample in parts.labelled} == {(128, 128)}
    assert all(sample.name.count("@") == 1 for sample in [*parts.labelled, *parts.unlabelled])


def test_a_row_may_deal_out_patches_to_a_method_that_takes_images(tmp_path, monkeypatch):
    """Nine patches of half overlap in an image of twice their side; in training alone."""
    monkeypatch.setenv("NUCBOOK_DATA", str(write("monuseg622", tmp_path, size=64)))
    row = Row("row", "maskrcnn", "monuseg622", "1/2", patches=(32, 16))
    parts = parts_of(row, find("maskrcnn"), config_of("maskrcnn").short("monuseg622"), "short")
    assert (len(parts.labelled), len(parts.unlabelled), len(parts.validation)) == (81, 81, 6)
    assert {sample.shape for sample in [*parts.labelled, *parts.unlabelled]} == {(32, 32)}
    assert parts.validation[0].shape == (64, 64)
    assert row.dealt == {"patches": [32, 16]}


def test_images_are_scored_in_patches_as_well():
    """Each patch is segmented alone: one that finds every pixel to be one nucleus finds nine of them."""
    sample = simulate("prostate", 64, seed=0)
    shapes = []

    def everything(image):
        shapes.append(image.shape[:2])
        return Nuclei.from_labels(np.ones(image.shape[:2], np.int32))

    found = score(everything, [sample], patches=(32,))
    assert shapes == [(64, 64), *[(32, 32)] * 9]
    truth = [sample.crop(r, c, 32, 32).label_map > 0 for r in (0, 16, 32) for c in (0, 16, 32)]
    dice = [2 * t.mean() / (t.mean() + 1) for t in truth]  # 0 where there is no nucleus
    assert found.metrics["dice/32"] == pytest.approx(np.mean(dice), abs=1e-3)
    assert found.per_image[0]["dice/32"] == found.metrics["dice/32"]
    assert set(found.metrics) == {*KEYS, *(f"{key}/32" for key in KEYS)}


def test_all_labels_leave_nobody_without():
    parts = dealt("monuseg", "quick", "100%")
    assert (len(parts.labelled), len(parts.unlabelled)) == (48, 0)


def test_a_method_that_works_on_images_gets_whole_ones():
    parts = dealt("monuseg", "quick", "1/4", method="unet")
    assert (len(parts.labelled), len(parts.unlabelled), len(parts.validation)) == (12, 36, 6)
    assert {sample.shape for sample in parts.labelled} == {(256, 256)}


def test_a_method_that_learns_from_points_sees_nothing_else():
    parts = dealt("kumar", "quick", "points", method="weaknucleiseg")
    assert all(sample.points is not None and not sample.labelled for sample in parts.labelled)
    assert len(parts.labelled) == 48


def test_validation_takes_whole_images_where_the_set_has_none(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_DATA", str(tmp_path))
    write("monuseg", tmp_path, size=64)
    parts = dealt("monuseg", "short", "1/4", 32)
    image = lambda samples: {sample.meta["image"] for sample in samples}
    assert parts.validation
    assert not image(parts.validation) & image([*parts.labelled, *parts.unlabelled])
    assert not parts.test


def test_a_method_that_chooses_its_labels_gets_all():
    row, method, config = Row("row", "whichpixel", "kumar", "5%"), find("whichpixel"), Config.quick()
    assert len(parts_of(row, method, config, "quick").labelled) == 48
    few = parts_of(row, method, change(config, {"labels": "given"}), "quick")
    assert len(few.labelled) == 2
    assert len(few.unlabelled) == 46


@pytest.mark.parametrize("labels", ["1/0", "0%", "9/8", "200%"])
def test_what_is_no_fraction_is_refused(labels):
    with pytest.raises(ValueError, match="write 1/8 or 100%"):
        fraction_of(labels)


def test_kinds_of_labels_are_no_fractions():
    assert [fraction_of(labels) for labels in ("points", "none", "points, 10-fold")] == [None] * 3
    assert [fraction_of(labels) for labels in ("1/8", "5%", "100%")] == [0.125, 0.05, 1.0]


def test_every_data_set_of_a_row_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_DATA", str(tmp_path))
    row = Row("IRCR-Net", "ircr", "monuseg", "1/8")
    config = config_of("ircr").short("monuseg")
    require(row, find("ircr"), config_of("ircr").quick(), "quick", lambda name: "test")  # all simulated
    write("monuseg", tmp_path)
    with pytest.raises(data.MissingDataset, match="CoNSeP, part 'train', is not in"):
        require(row, find("ircr"), config, "short", lambda name: "test")


# -- scores -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample():
    return simulate("breast", 160, seed=5)


def test_predictions_are_measured_as_nuclei_that_may_overlap(sample):
    """A second, overlapping copy of each nucleus is a false positive, though a label map would hide it."""
    truth = sample.truth
    twice = Nuclei.concatenate([truth, truth])
    assert np.array_equal(twice.to_labels() > 0, truth.to_labels() > 0)
    once, doubled = (score(lambda image, found=found: found, [sample]).metrics for found in (truth, twice))
    assert once["pq"] == 1
    assert doubled["dq"] == pytest.approx(2 / 3, abs=1e-4)
    assert doubled["dice"] == 1


def test_what_is_not_annotated_counts_on_neither_side(sample):
    annotated = np.zeros(sample.shape, bool)
    annotated[:, :80] = True
    half = replace(sample, instances=np.where(annotated, sample.instances, 0), annotated=annotated)
    measured = score(lambda image: sample.truth, [half])
    assert measured.metrics["aji"] == 1
    assert score(lambda image: sample.truth, [replace(half, annotated=None)]).metrics["aji"] < 1


def test_numbers_of_the_whole_set_and_facts_of_the_images(sample):
    truth = sample.truth
    rng = np.random.default_rng(0)
    found = replace(truth, scores=rng.random(len(truth)).astype(np.float32))[: len(truth) - 1]
    measured = score(lambda image: found, [sample], ("ap50", "rotated_ap50", "mpq", "bpq"))
    expected = evaluate_detections([(truth, found)]).mean["ap50"]
    assert measured.metrics["ap50"] == pytest.approx(expected, abs=1e-4)
    assert 0 < measured.metrics["mpq"] <= 1
    assert measured.per_image[0]["organ"] == "breast"
    with pytest.raises(ValueError, match="no metric 'ap5'; of a set there are ap, ap50"):
        score(lambda image: found, [sample], ("ap5",))


def test_parameters_and_flops_by_hand():
    convolution = lambda config: {"net": torch.nn.Conv2d(3, 5, 3, padding=1)}
    method = Method("toy", object, convolution, lambda *_: None, lambda *_: None)
    columns = [Column("parameters"), Column("flops", side=8)]
    assert costs(method, None, columns) == {"parameters": 3 * 5 * 9 + 5, "flops@8": 2 * 3 * 5 * 9 * 64}
