"""The box threshold by hand, against a plain loop, and where there is nothing to count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from nucbook.papers.bass.thresholds import VALUES, box_threshold, by_tile, number_of_tiles


def test_the_threshold_leaves_as_many_nuclei_as_are_expected():
    """Two true nuclei a tile score .8 and more, false ones .32 at most."""
    scores = [np.array([0.9, 0.8, 0.3, 0.2]), np.array([0.85, 0.82, 0.32])]
    found = box_threshold(scores, [2, 2, 2])
    assert found.nearest == pytest.approx(0.33)  # the lowest of the equally good
    assert found.mean == pytest.approx(0.33)
    assert found.distances.min() == 0
    assert len(found.distances) == 91


def test_the_distribution_says_more_than_the_mean():
    """Half of the labelled tiles are empty: with threshold .5 counts are 0 and 4, with .3 twice 2."""
    scores = [np.array([0.6] * 4), np.array([0.4] * 4 + [0.31] * 4)]
    found = box_threshold(scores, [0, 4])
    assert found.nearest == pytest.approx(0.41)
    assert found.distances[VALUES.searchsorted(0.45)] == 0
    skewed = box_threshold([np.array([0.9, 0.3]), np.array([0.3, 0.2, 0.2])], [0, 5])
    assert skewed.mean == pytest.approx(0.1)
    assert skewed.distances[0] > 0


def test_it_is_what_a_plain_loop_finds():
    rng = np.random.default_rng(0)
    scores = [rng.random(rng.integers(0, 30)).astype(np.float32) for _ in range(40)]
    counts = rng.integers(0, 20, 25)
    found = box_threshold(scores, counts)
    for value, distance in zip(VALUES[::9], found.distances[::9]):
        kept = [int((own >= value).sum()) for own in scores]
        assert distance == pytest.approx(wasserstein_distance(kept, counts))


def test_nothing_detected_and_nothing_to_compare():
    assert box_threshold([np.array([])] * 3, [4, 5]).nearest == pytest.approx(0.1)
    with pytest.raises(ValueError, match="2 unlabelled and 0 labelled tiles"):
        box_threshold([np.array([]), np.array([0.5])], [])


def test_tiles_are_equal_and_hold_every_centre():
    assert number_of_tiles((1000, 1000)) == 16
    assert number_of_tiles((256, 256)) == 1
    assert number_of_tiles((257, 256)) == 2
    centres = np.array([[0, 0], [249.9, 0], [250.1, 999.9], [1000, 1000]])
    assert by_tile((1000, 1000), centres).tolist() == [0, 0, 7, 15]
