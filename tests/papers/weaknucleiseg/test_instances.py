"""From probabilities and embeddings to nuclei: by hand, on windows, and where there is nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nucbook.data.patches import grid
from nucbook.data.tissue import simulate
from nucbook.metrics import evaluate
from nucbook.nuclei import Nuclei
from nucbook.papers.weaknucleiseg.config import Config
from nucbook.papers.weaknucleiseg.instances import RawOutput, cores_of, decode, group, maps, split
from nucbook.papers.weaknucleiseg.network import CoordConv, EmbeddingNet, SemanticNet

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


@pytest.mark.parametrize(("pieces", "kept"), [(4, 5), (5, 1)])
def test_the_most_fragmented_cluster_goes_from_five_pieces_on(pieces, kept):
    labels = np.zeros((20, 70), np.int32)
    labels[2:18, 2:12] = 1
    for i in range(pieces):
        labels[5:12, 15 + 10 * i : 22 + 10 * i] = 2
    assert group(block(labels), labels > 0, CONFIG).max(initial=0) >= 1
    assert len(np.unique(group(block(labels), labels > 0, CONFIG))) - 1 == kept


def test_rims_that_fell_to_another_cluster_are_dropped():
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 1
    labels[5, 5:15] = 2  # 10 px, below min_area
    found = group(block(labels), labels > 0, CONFIG)
    assert len(np.unique(found)) == 2
    assert not found[5].any()


def test_pieces_of_every_label():
    labels = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 0, 2, 0]])
    pieces, of = split(labels)
    assert of.tolist() == [0, 1, 1, 2, 2]
    assert (of[pieces] == labels).all()
    assert pieces[0, 3] != pieces[2, 2]  # corners do not touch


def raw_output(labels, window, noise=0.0):
    """What perfect networks would say of a label map, window by window."""
    shape = labels.shape
    windows = list(grid(shape, window, window // 2))
    padded = np.pad(labels, [(0, max(window - n, 0)) for n in shape])
    crops = np.stack([padded[r : r + window, c : c + window] for r, c in windows])
    embeddings = torch.stack([block(np.where(crop > 0, crop % 97, 0)) for crop in crops])
    return RawOutput((labels > 0).astype(np.float32), windows, embeddings)


@pytest.mark.parametrize("size", [(96, 96), (256, 256), (200, 317), (50, 130)])
def test_windows_give_the_nuclei_of_the_whole(size):
    labels = simulate("breast", size=size, seed=4).instances
    found = decode(raw_output(labels, 96), replace(CONFIG, min_area=1, pieces=1000))
    assert isinstance(found, Nuclei)
    assert found.shape == size
    assert evaluate(labels, found.to_labels())["aji_plus"] > 0.99


@pytest.mark.parametrize("size", [(96, 96), (300, 211), (40, 96)])
def test_cores_tile_the_image(size):
    painted = np.zeros(size, int)
    for (top, bottom), (left, right) in cores_of(raw_output(np.zeros(size, int), 96), size):
        painted[top:bottom, left:right] += 1
    assert (painted == 1).all()


def test_nothing_above_the_threshold_is_no_nucleus():
    empty = raw_output(np.zeros((96, 130), int), 96)
    assert len(decode(empty, CONFIG)) == 0
    alone = RawOutput(np.zeros((96, 130), np.float32), [], None)
    assert not decode(alone, replace(CONFIG, grouping="pieces")).any()


def test_embeddings_that_collapse_to_one_place_give_the_pieces():
    labels = np.zeros((96, 96), np.int32)
    labels[10:30, 10:30], labels[50:70, 50:70] = 1, 2
    one_place = RawOutput((labels > 0).astype(np.float32), [(0, 0)], torch.zeros(1, 16, 96, 96))
    assert evaluate(labels, decode(one_place, CONFIG).to_labels())["aji"] == 1


def test_without_a_second_network_pieces_are_nuclei_and_holes_are_filled():
    probability = np.zeros((40, 40), np.float32)
    probability[5:20, 5:20] = 0.9
    probability[10:12, 10:12] = 0.1
    probability[30:33, 30:33] = 0.9  # 9 px, below min_area
    found = decode(RawOutput(probability, [], None), replace(CONFIG, grouping="pieces", threshold=0.5))
    assert np.array_equal(found > 0, np.pad(np.ones((15, 15), bool), ((5, 20), (5, 20))))


# -- the networks -------------------------------------------------------------------------------


def test_shapes_and_any_size():
    image = torch.rand(2, 3, 70, 45)
    with torch.no_grad():
        assert SemanticNet("resnet18", 4)(image).shape == (2, 2, 70, 45)
        assert EmbeddingNet(16, "resnet18", 4, 64)(image[..., :64, :32]).shape == (2, 16, 64, 32)
        one, two = maps(
            {"spn": SemanticNet("resnet18", 4).eval(), "ien": EmbeddingNet(16, "resnet18", 4, 64).eval()},
            image,
        )
    assert one.probability.shape == two.probability.shape == (70, 45)
    assert one.embeddings.shape == (len(one.windows), 16, 64, 64)


def test_the_place_starts_as_a_hint_and_reaches_the_output():
    layer = CoordConv()
    flat = torch.full((1, 3, 8, 8), 0.5)
    seen = layer(flat)
    assert (seen - flat).abs().max() < 0.5
    assert seen.std() > 0  # alike pixels differ by their place
    seen.sum().backward()
    assert layer.mix.weight.grad.any()
