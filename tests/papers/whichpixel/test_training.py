"""The whole method: what it looks at, what it learns from, own images, bad input."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from nucbook.data.tissue import simulate
from nucbook.papers.whichpixel import training
from nucbook.papers.whichpixel.config import Config
from nucbook.papers.whichpixel.picks import covered
from nucbook.papers.whichpixel.selection import pick
from nucbook.profile import change
from nucbook.segmenter import Segmenter
from nucbook.split import Parts
from nucbook.training.stages import StageRunner

TINY = change(
    Config.quick(),
    {
        "size": 64, "stride": 32, "selection.clusters": 2, "network": "colour", "starts": 1, "count": 2,
        "scales": (16, 64), "iterations": (1, 1), "gan.width": 4, "rounds": 1,
        "translation.width": 4, "translation.blocks": 1, "translation.crop": 32, "translation.steps": 1,
        "hovernet.steps": 1, "hovernet.crop": 32, "hovernet.batch": 3,
        "maskrcnn.steps": 1, "maskrcnn.crop": 64, "maskrcnn.batch": 3,
    },
)  # fmt: skip


@pytest.fixture(scope="module")
def samples():
    return [replace(simulate("liver", 96, seed=seed), name=f"tile{seed}") for seed in range(3)]


def runner(folder) -> StageRunner:
    return StageRunner(0, folder, progress=False)


def lots_of(config, parts, folder, monkeypatch) -> list[list]:
    """The samples that each training of a segmentation network gets, lot by lot."""
    seen = []
    whole = training.in_equal_shares

    def shares(config, lots):
        seen.append(lots)
        return whole(config, lots)

    monkeypatch.setattr(training, "in_equal_shares", shares)
    training.train(runner(folder), config, parts)
    return seen


@pytest.mark.parametrize("segmenter", ["hovernet", "maskrcnn"])
@pytest.mark.parametrize("synthesis", ["none", "csingan", "pix2pix", "cyclegan"])
def test_it_trains_and_segments(segmenter, synthesis, samples, tmp_path):
    config = change(TINY, {"segmenter": segmenter, "synthesis": synthesis})
    made = training.train(runner(tmp_path), config, Parts(samples))
    segment = Segmenter.of(training.METHOD, config, made.weights)
    assert segment(samples[0].image).instances.shape == (96, 96)
    assert set(made.histories) == {segmenter}


def test_outlines_beyond_the_chosen_windows_change_nothing(samples, tmp_path):
    """Nobody drew them: an image may hold any label outside its windows."""
    picks = pick(runner(tmp_path), TINY.selection, samples)
    spoilt = []
    for sample in samples:
        outside = ~covered(sample, picks)
        spoilt.append(replace(sample, instances=np.where(outside, 1, sample.instances), class_of={}))
    one = training.train(runner(tmp_path / "one"), TINY, Parts(samples)).weights["hovernet"]
    other = training.train(runner(tmp_path / "other"), TINY, Parts(spoilt)).weights["hovernet"]
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_lots_are_real_windows_synthetic_ones_and_all_images(samples, tmp_path, monkeypatch):
    first, last = lots_of(TINY, Parts(samples), tmp_path, monkeypatch)
    picks = pick(runner(tmp_path), TINY.selection, samples)
    assert {sample.name for sample in first[0]} == set(picks.picked.image)
    for sample in first[0]:  # crops of windows show what is round them, too
        assert np.array_equal(sample.annotated, covered(sample, picks))
    assert [len(lot) for lot in first[1:]] == [4]
    assert [len(lot) for lot in last[1:]] == [4, 3]
    assert all(sample.shape == (64, 64) for sample in first[1])
    assert [sample.name for sample in last[2]] == [sample.name for sample in samples]
    for pseudo, sample in zip(last[2], samples):
        inside = covered(sample, picks)
        assert np.array_equal(pseudo.instances[inside] > 0, sample.instances[inside] > 0)


def test_each_lot_has_an_equal_share_of_a_batch(samples):
    for count, size in ((1, 3), (2, 4), (3, 3)):
        batch = training.in_equal_shares(TINY, [samples] * count)(torch.Generator().manual_seed(0))
        assert len(batch) == size


@pytest.mark.parametrize("segmenter", ["hovernet", "maskrcnn"])
def test_a_network_goes_on_from_the_one_before(segmenter, samples, tmp_path):
    still = {"hovernet.learning_rate": 1e-30, "maskrcnn.learning_rate": 1e-30}
    config = change(TINY, {"segmenter": segmenter, "labels": "given", **still})
    first = runner(tmp_path).do(training.segmented, config, [samples], 1, None)
    other = replace(runner(tmp_path), seed=1)
    anew, last = (other.do(training.segmented, config, [samples], 1, None, begin) for begin in (None, first))
    kernels = [key for key, value in first["weights"].items() if value.ndim == 4]
    same = lambda made: all(torch.equal(made["weights"][key], first["weights"][key]) for key in kernels)
    assert (same(anew), same(last)) == (False, True)


def test_a_round_begins_as_the_config_says(samples, tmp_path, monkeypatch):
    begun = []
    learnt = training.hovernet.learnt
    monkeypatch.setattr(
        training.hovernet, "learnt", lambda *own, begin: begun.append(begin) or learnt(*own, begin=begin)
    )
    for begin in ("anew", "last"):
        config = change(TINY, {"segmenter": "hovernet", "synthesis": "none", "rounds": 2, "begin": begin})
        training.train(runner(tmp_path / begin), config, Parts(samples))
    assert [own is None for own in begun] == [True, True, True, False, False]  # the first two rounds are one


@pytest.mark.parametrize("augmentation", ["none", "naive", "strong"])
def test_naive_augmentation_moves_pixels_whole_and_keeps_stains(augmentation, samples):
    config = change(TINY, {"augmentation": augmentation})
    grey = [replace(s, image=np.full((96, 96, 3), 128, np.uint8)) for s in samples]
    image = training.draws(config, grey, 8)(torch.Generator().manual_seed(0)).image
    flat = image.mean((2, 3))
    assert (float(flat.std()) > 0.02) == (augmentation == "strong")
    assert (float(image.std((2, 3)).max()) > 1e-3) == (augmentation != "none")


# -- own images ---------------------------------------------------------------------------------


def test_own_images_with_outlines_teach_and_the_others_get_pseudo_labels(samples, tmp_path, monkeypatch):
    config = change(TINY, {"labels": "given"})
    parts = Parts(samples[:1], [sample.weaken("nothing") for sample in samples[1:]])
    first, last = lots_of(config, parts, tmp_path, monkeypatch)
    assert [sample.name for sample in first[0]] == ["tile0"]
    assert first[0][0].shape == (96, 96)
    assert {fake.name.partition("@")[0] for fake in first[1]} == {"tile0"}
    assert len(last[2]) == 3
    assert np.array_equal(last[2][0].instances > 0, samples[0].instances > 0)


def test_the_whole_method_takes_own_images_as_they_are():
    assert Config.short("own").labels == Config.paper("own").labels == "given"
    assert Config.short("kumar").labels == Config.paper("kumar").labels == "selected"


def test_images_without_outlines_are_wanted_for_pseudo_labels_alone():
    given = change(TINY, {"labels": "given"})
    assert training.learns_from(given) == "some masks"
    assert training.learns_from(TINY) == training.learns_from(change(given, {"rounds": 0})) == "masks"


def test_windows_are_as_small_and_as_few_as_the_images(samples, tmp_path):
    own = [sample.crop(0, 0, 41, 50) for sample in samples]
    config = change(TINY, {"selection.clusters": 9, "stride": 20}).selection
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = training.windows_to_paint(runner(tmp_path), config, own)
    assert {window.shape for window in found} == {(40, 40)}
    assert len(found) == 3


def test_windows_that_are_annotated_in_part_are_not_painted(samples, tmp_path):
    half = np.zeros((96, 96), bool)
    half[:50] = True
    with pytest.raises(ValueError, match=r"annotated in part only.*synthesis='none'"):
        training.windows_to_paint(runner(tmp_path), TINY.selection, [replace(samples[0], annotated=half)])


def test_selection_among_images_without_outlines_is_refused(samples, tmp_path):
    parts = Parts(samples[:2], [samples[2].weaken("nothing")])
    with pytest.raises(ValueError, match="1 samples have none; labels='given'"):
        training.train(runner(tmp_path), TINY, parts)
