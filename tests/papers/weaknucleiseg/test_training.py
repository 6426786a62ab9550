"""The stages: what they may know, what they share, that the networks learn, and how weights are chosen."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from nucbook.data import load
from nucbook.data.prepare import prepare
from nucbook.data.tissue import simulate
from nucbook.metrics import evaluate
from nucbook.papers.weaknucleiseg.config import Config
from nucbook.papers.weaknucleiseg.training import METHOD, Choice, clicked
from nucbook.sample import InvalidSample, Sample
from nucbook.segmenter import Segmenter, train
from nucbook.training.best import Best
from nucbook.training.stages import StageRunner

TINY = replace(Config.quick(), crop=32, batch=2, levels=3, spn_steps=2, ien_steps=2, precision="no")


@pytest.fixture(scope="module")
def samples():
    return [sample.crop(0, 0, 128, 128) for sample in load("tissue", "validation")[2:4]]


def learn(samples, config, folder, **options):
    return train("weaknucleiseg", samples, config, checkpoint=folder, progress=False, **options)


def same(one: Segmenter, other: Segmenter) -> bool:
    pairs = [(one.networks[name].state_dict(), other.networks[name].state_dict()) for name in one.networks]
    return all(torch.equal(a[key], b[key]) for a, b in pairs for key in a)


def stages_done(folder):
    return sorted(path.name.rsplit("-", 1)[0].split(".")[-1] for path in folder.iterdir())


def test_training_on_points_never_sees_a_mask(samples, tmp_path):
    """Other masks with the same points change nothing."""
    seen, _ = learn(samples, TINY, tmp_path / "a")
    points = [sample.weaken("points") for sample in samples]
    unseen, _ = learn(points, TINY, tmp_path / "b")
    assert same(seen, unseen)
    other = [Sample(s.image, np.ones(s.shape, np.int32), points=s.points, name=s.name) for s in points]
    again, _ = learn(other, TINY, tmp_path / "c")
    assert same(seen, again)


def test_stages_are_shared_and_found_again(samples, tmp_path):
    full, histories = learn(samples, TINY, tmp_path)
    assert list(histories) == ["spn", "ien"]
    before = stages_done(tmp_path)
    assert before == ["embedding", "partial_labels", "pseudo_instances", "semantic"]
    alone, histories = learn(samples, replace(TINY, grouping="components", threshold=0.5), tmp_path)
    assert stages_done(tmp_path) == before  # SPN was there
    assert list(histories) == ["spn"]
    assert torch.equal(full.networks["spn"].unet.head.weight, alone.networks["spn"].unet.head.weight)
    learn(samples, replace(TINY, gamma=0.1), tmp_path)
    assert stages_done(tmp_path) == sorted([*before, "embedding"])  # only the second network anew


@pytest.mark.parametrize(
    "changes",
    [
        {"jitter": 4.0},
        {"missing": 0.5},
        {"features": "qu"},
        {"supervision": "masks"},
        {"squared": True},
        {"ien_init": "spn"},
        {"colour": "varied"},
        {"colour": "normalised"},
    ],
)
def test_what_a_row_changes_changes_the_networks(samples, tmp_path, changes):
    plain, _ = learn(samples, TINY, tmp_path)
    changed, _ = learn(samples, replace(TINY, **changes), tmp_path)
    assert not same(plain, changed)


def test_the_second_network_may_start_from_the_encoder_of_the_first(samples, tmp_path):
    config = replace(TINY, ien_init="spn", ien_learning_rate=1e-12)
    found, _ = learn(samples, config, tmp_path)
    spn, ien = (dict(found.networks[name].encoder.named_parameters()) for name in ("spn", "ien"))
    assert all(torch.allclose(spn[key], ien[key], atol=1e-6) for key in spn)


def test_points_may_be_missing_altogether(tmp_path):
    nobody = simulate("breast", size=96, seed=5).weaken("points")
    empty = replace(nobody, points=np.zeros((0, 2)))
    _, histories = learn([empty, nobody], TINY, tmp_path)
    assert all(np.isfinite(row["loss"]) for history in histories.values() for row in history.rows)
    _, histories = learn([empty], TINY, tmp_path, seed=1)
    assert all(np.isfinite(row["loss"]) for history in histories.values() for row in history.rows)


def test_a_sample_without_points_and_masks_is_refused(samples):
    with pytest.raises(InvalidSample, match="slide 7: has neither points nor masks; click"):
        clicked(TINY, [Sample(samples[0].image, name="slide 7")], 0)


@pytest.mark.slow
def test_fully_learns_one_image(tmp_path):
    sample = load("tissue", "train")[23].crop(0, 0, 128, 128)
    config = replace(
        Config.quick(), supervision="masks", batch=4, spn_steps=150, ien_steps=300, threshold=0.5
    )
    segmenter, _ = learn([sample], config, tmp_path)
    assert evaluate(sample.instances, segmenter(sample.image).instances)["aji"] > 0.8


def test_a_saved_segmenter_says_the_same(samples, tmp_path):
    segmenter, _ = learn(samples, TINY, tmp_path / "stages")
    segmenter.save(tmp_path / "model")
    again = Segmenter.load(tmp_path / "model")
    assert same(segmenter, again)
    image = samples[0].image
    assert np.array_equal(segmenter(image).instances, again(image).instances)


# -- the weights that are kept ------------------------------------------------------------------


def test_best_keeps_the_weights_with_the_best_score():
    network = nn.Linear(1, 1, bias=False)
    best = copy.deepcopy(network)
    keeper = Best("net", score=lambda net: -abs(float(net.weight.detach()) - 3), every=2)
    kept = []
    for step, weight in enumerate([9.0, 1.0, 3.0, 2.0, 3.0, 7.0, 0.0, 2.5]):
        with torch.no_grad():
            network.weight.fill_(weight)
        if step == 4:  # a resumed run has a new keeper
            keeper = Best("net", keeper.score, 2)
        keeper.update(best, network, step)
        kept.append(float(best.weight.detach()))
    assert kept[1::2] == [1.0, 2.0, 2.0, 2.5]


@pytest.mark.slow
def test_selection_by_masks_takes_the_better_weights_and_says_so(samples, tmp_path):
    """By a truth that training leaves behind, all that is no nucleus, early weights are far better."""
    turned = (samples[0].instances == 0).astype(np.int32)
    judged = [replace(samples[0], instances=turned, class_of={}, points=None)]
    last = replace(
        TINY, spn_steps=20, spn_learning_rate=0.05, grouping="components", threshold=0.5, min_area=1
    )
    config = replace(last, selection="masks")
    worth = Choice(config, judged)
    best, final = (learn(samples, each, tmp_path, validation=judged)[0] for each in (config, last))
    assert worth(best.networks["spn"]) > worth(final.networks["spn"]) + 0.3
    parts = prepare(METHOD, config, samples, judged)
    trained = METHOD.train(StageRunner(0, tmp_path, progress=False), config, parts)
    assert trained.selection == "AJI on full masks of validation images"
    with pytest.raises(ValueError, match="needs validation images"):
        learn(samples, config, tmp_path)
