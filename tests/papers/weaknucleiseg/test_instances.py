"""From probabilities and embeddings to nuclei: by hand, on windows, and where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nucbook.data.patches import grid
from nucbook.data.tissue import simulate
from nucbook.metrics import evaluate, evaluate_many
from nucbook.papers.weaknucleiseg import training
from nucbook.papers.weaknucleiseg.config import Config
from nucbook.papers.weaknucleiseg.instances import RawOutput, decode, group, maps
from nucbook.papers.weaknucleiseg.network import CoordConv, EmbeddingNet, SemanticNet
from nucbook.segmenter import train

CONFIG = Config.quick()


def block(labels):
    """Embeddings that tell the ids of (H, W) apart, 10 units from one to the next."""
    return torch.from_numpy(np.stack([labels * 10.0, labels * 0.0]).astype(np.float32))


def test_touching_nuclei_are_parted_by_their_embeddings():
    labels = np.zeros((20, 30), np.int32)
    labels[5:15, 5:15], labels[5:15, 15:25] = 1, 2
    found = group(block(labels), labels > 0, CONFIG)
    assert evaluate(labels, found)["aji"] == 1


def test_a_cluster_in_two_places_is_two_nuclei():
    labels = np.zeros((20, 30), np.int32)
    labels[5:15, 2:10], labels[5:15, 18:28] = 1, 1
    found = group(block(labels), labels > 0, CONFIG)
    assert len(np.unique(found)) == 3


@pytest.mark.parametrize(("components", "limit", "kept"), [(4, 5, 5), (5, 5, 1), (5, 6, 6), (5, None, 6)])
def test_the_most_fragmented_cluster_goes_from_so_many_components_on(components, limit, kept):
    labels = np.zeros((20, 70), np.int32)
    labels[2:18, 2:12] = 1
    for i in range(components):
        labels[5:12, 15 + 10 * i : 22 + 10 * i] = 2
    found = group(block(labels), labels > 0, replace(CONFIG, pieces=limit))
    assert found.max() == kept
    assert (found[2:18, 2:12] == 1).all()


@pytest.mark.parametrize(
    ("config", "kept"), [(Config.quick(), 6), (Config.short("kumar"), 6), (Config.paper("kumar"), 1)]
)
def test_only_windows_of_the_paper_take_five_components_for_background(config, kept):
    """In smaller windows three quarters of what the rule took away was nucleus."""
    labels = np.zeros((20, 70), np.int32)
    labels[2:18, 2:12] = 1
    for i in range(5):
        labels[5:12, 15 + 10 * i : 22 + 10 * i] = 2
    assert group(block(labels), labels > 0, config).max() == kept


def test_boundaries_that_fell_to_another_cluster_are_dropped():
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 1
    labels[5, 5:15] = 2  # 10 px, below min_area
    found = group(block(labels), labels > 0, CONFIG)
    assert len(np.unique(found)) == 2
    assert not found[5].any()


def test_components_of_a_cluster_touch_by_their_sides():
    labels = np.zeros((20, 20), np.int32)
    labels[2:10, 2:10], labels[10:18, 10:18] = 1, 1
    assert len(np.unique(group(block(labels), labels > 0, CONFIG))) == 3


def raw_output(labels, window, noise=0.0):
    """What perfect networks would predict for a label map, window by window."""
    shape = labels.shape
    windows = list(grid(shape, window, window // 2))
    padded = np.pad(labels, [(0, max(window - n, 0)) for n in shape])
    crops = np.stack([padded[r : r + window, c : c + window] for r, c in windows])
    embeddings = torch.stack([block(np.where(crop > 0, crop % 97, 0)) for crop in crops])
    return RawOutput((labels > 0).astype(np.float32), windows, embeddings)


@pytest.mark.parametrize("size", [(96, 96), (256, 256), (200, 317), (50, 130)])
def test_windows_give_the_nuclei_of_the_whole(size):
    labels = simulate("breast", size=size, seed=4).instances
    found = decode(raw_output(labels, 96), replace(CONFIG, min_area=1, pieces=None))
    assert found.shape == size
    assert evaluate(labels, found)["aji_plus"] > 0.99


def two_windows(left, right):
    """Two windows of 96 columns, from column 0 and from 48, each with nuclei of its own; cores meet at 72.

    left, right : {(first column, last + 1) of the image: embedding}.
    """
    clusters = np.zeros((2, 96, 96), np.int32)
    for window, start, columns in zip(clusters, (0, 48), (left, right)):
        for (a, b), place in columns.items():
            window[30:60, a - start : b - start] = place
    probability = np.zeros((96, 144), np.float32)
    probability[:, :96][clusters[0] > 0] = 1
    probability[:, 48:][clusters[1] > 0] = 1
    return RawOutput(probability, [(0, 0), (0, 48)], torch.stack([block(window) for window in clusters]))


def test_windows_that_cluster_differently_lose_no_foreground():
    # The left one sees one nucleus, its centroid right of the line. The right one sees two, of which one has
    # its centroid left of the line: a nucleus that goes to where its centroid lies is nobody's.
    raw = two_windows({(60, 96): 1}, {(60, 81): 1, (81, 96): 2})
    found = decode(raw, CONFIG)
    assert np.array_equal(found > 0, raw.probability > 0)
    expected = np.zeros((96, 144), np.int32)
    expected[30:60, 60:81], expected[30:60, 81:96] = 1, 2
    assert np.array_equal(found, expected)


def test_a_nucleus_over_a_seam_is_one_and_two_that_touch_there_stay_two():
    one = decode(two_windows({(60, 90): 1}, {(60, 90): 3}), CONFIG)
    assert one.max() == 1
    two = decode(two_windows({(55, 72): 1, (72, 90): 2}, {(55, 72): 2, (72, 90): 1}), CONFIG)
    assert two.max() == 2
    assert (two[30:60, 55:90] == np.repeat([1, 2], [17, 18])).all()


def test_a_cluster_that_one_window_takes_for_background_stays_where_another_keeps_it():
    # Five bars are one cluster of the left window, and each a nucleus of the right one, which sees three.
    places = {(a, a + 8): 1 for a in (8, 20, 54, 66, 78)}
    right = {(a, a + 8): i for i, a in enumerate((54, 66, 78), 1)}
    found = decode(two_windows(places, right), replace(CONFIG, pieces=5))
    assert np.unique(found.nonzero()[1]).tolist() == [*range(54, 62), *range(66, 74), *range(78, 86)]


def test_nothing_above_the_threshold_is_no_nucleus():
    empty = raw_output(np.zeros((96, 130), int), 96)
    assert not decode(empty, CONFIG).any()
    alone = RawOutput(np.zeros((96, 130), np.float32), [], None)
    assert not decode(alone, replace(CONFIG, grouping="components")).any()


def test_embeddings_that_collapse_to_one_place_give_the_components():
    labels = np.zeros((96, 96), np.int32)
    labels[10:30, 10:30], labels[50:70, 50:70] = 1, 2
    one_place = RawOutput((labels > 0).astype(np.float32), [(0, 0)], torch.zeros(1, 16, 96, 96))
    assert evaluate(labels, decode(one_place, CONFIG))["aji"] == 1


def test_without_a_second_network_components_are_nuclei_and_holes_are_filled():
    probability = np.zeros((40, 40), np.float32)
    probability[5:20, 5:20] = 0.9
    probability[10:12, 10:12] = 0.1
    probability[30:33, 30:33] = 0.9  # 9 px, below min_area
    found = decode(RawOutput(probability, [], None), replace(CONFIG, grouping="components", threshold=0.5))
    assert np.array_equal(found > 0, np.pad(np.ones((15, 15), bool), ((5, 20), (5, 20))))


# -- the networks -------------------------------------------------------------------------------


def test_shapes_and_any_size():
    image = torch.rand(2, 3, 70, 45)
    with torch.no_grad():
        assert SemanticNet("resnet18", 4)(image).shape == (2, 2, 70, 45)
        assert EmbeddingNet(16, "resnet18", 4)(image[..., :64, :32]).shape == (2, 16, 64, 32)
        models = {"spn": SemanticNet("resnet18", 4).eval(), "ien": EmbeddingNet(16, "resnet18", 4).eval()}
        one, two = maps(models, image, replace(CONFIG, crop=64, overlap=16))
    assert one.probability.shape == two.probability.shape == (70, 45)
    assert one.windows == [(0, 0), (6, 0)]
    assert one.embeddings.shape == (2, 16, 64, 64)


def test_selection_judges_the_decoder_that_is_used(tmp_path, monkeypatch):
    """Training, `Choice` and the segmenter read embeddings in the same windows, those of the config."""
    samples = [simulate("breast", size=112, seed=seed) for seed in (1, 2)]
    config = replace(CONFIG, crop=64, overlap=16, batch=2, levels=3, spn_steps=2, ien_steps=2, precision="no")
    config = replace(config, min_area=1, selection="masks")
    seen = []

    def watched(models, image, config):
        made = maps(models, image, config)
        seen.extend(raw.windows for raw in made if raw.embeddings is not None)
        return made

    monkeypatch.setattr(training, "METHOD", replace(training.METHOD, maps=watched))
    parts = {"validation": samples[:1], "checkpoint": tmp_path, "progress": False}
    segmenter, _ = train("weaknucleiseg", samples, config, **parts)
    assert len(seen) == 2  # after each step
    found = evaluate_many((s.label_map, segmenter(s.image).instances, s.valid) for s in samples)
    assert len(seen) == 4
    assert all(windows == [(0, 0), (0, 48), (48, 0), (48, 48)] for windows in seen)
    spn = segmenter.networks["spn"].state_dict()
    assert training.Choice(config, samples, spn)(segmenter.networks["ien"]) == found.mean["aji_qu"]


def test_the_place_starts_as_a_hint_and_reaches_the_output():
    layer = CoordConv()
    flat = torch.full((1, 3, 8, 8), 0.5)
    seen = layer(flat)
    assert (seen - flat).abs().max() < 0.5
    assert seen.std() > 0  # alike pixels differ by their place
    seen.sum().backward()
    assert layer.mix.weight.grad.any()
