"""Outlines made worse on purpose."""

import numpy as np
import pytest
from skimage.draw import disk

from nucbook.metrics import evaluate
from nucbook.papers.bass.jitter import jittered


@pytest.fixture
def nuclei():
    labels = np.zeros((200, 200), np.int32)
    for i in range(25):
        labels[disk((20 + 40 * (i // 5), 20 + 40 * (i % 5)), 10)] = i + 1
    return labels


def radii(labels):
    return np.sqrt(np.bincount(labels.ravel(), minlength=26)[1:] / np.pi)


def test_every_nucleus_is_moved_by_its_own_number_of_pixels(nuclei):
    moved = jittered(nuclei, 3, np.random.default_rng(0))
    by = np.random.default_rng(0).integers(-3, 4, 26)[1:]
    assert set(by) == set(range(-3, 4))
    assert np.abs(radii(moved) - radii(nuclei) - by).max() < 0.5  # of a pixel a disc has no part


def test_without_jitter_nothing_moves(nuclei):
    assert np.array_equal(jittered(nuclei, 0, np.random.default_rng(0)), nuclei)


def test_more_jitter_is_worse(nuclei):
    scores = [evaluate(nuclei, jittered(nuclei, px, np.random.default_rng(0)))["sq"] for px in (0, 1, 2, 3)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 1


def test_no_nucleus_is_lost_and_none_is_painted_over(nuclei):
    small = np.where(np.arange(200) % 40 < 21, nuclei, 0)  # halves, some beside others
    touching = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((5, 5), int))
    for labels in (small, touching, np.ones((4, 4), int)):
        moved = jittered(labels, 20, np.random.default_rng(1))
        assert set(np.unique(moved)) >= set(np.unique(labels[labels > 0]))
        both = (moved > 0) & (labels > 0)
        assert np.array_equal(moved[both], labels[both])


def test_an_image_without_nuclei():
    assert not jittered(np.zeros((8, 8), int), 3, np.random.default_rng(0)).any()
