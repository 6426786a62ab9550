"""Pseudo labels give way to the truth in annotated pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nucbook.papers.whichpixel.pseudo import with_truth
from nucbook.sample import Sample


def known(labels, annotated) -> Sample:
    image = np.zeros((*labels.shape, 3), np.uint8)
    return Sample(image, instances=np.where(annotated, labels, 0), annotated=annotated)


def row(*values) -> np.ndarray:
    return np.array([values], np.int32)


def test_a_sample_of_which_nothing_is_known_keeps_what_was_found():
    assert with_truth(row(0, 5, 5, 0, 9), None).tolist() == [[0, 1, 1, 0, 2]]


def test_annotated_pixels_show_the_truth_and_others_what_was_found():
    sample = known(row(0, 7, 7, 0, 0, 0), row(1, 1, 1, 1, 0, 0) > 0)
    assert with_truth(row(3, 0, 0, 0, 4, 4), sample).tolist() == [[0, 1, 1, 0, 2, 2]]


def test_what_is_left_of_a_found_nucleus_joins_the_true_one_that_the_window_cuts():
    sample = known(row(0, 0, 7, 7, 0, 0), row(1, 1, 1, 1, 0, 0) > 0)
    made = with_truth(row(0, 0, 0, 4, 4, 4), sample)
    assert made.tolist() == [[0, 0, 1, 1, 1, 1]]


def test_it_joins_the_one_that_shares_most_with_it():
    sample = known(row(8, 7, 7, 7, 0, 0), row(1, 1, 1, 1, 0, 0) > 0)
    assert with_truth(row(4, 4, 4, 4, 4, 0), sample).tolist() == [[2, 1, 1, 1, 1, 0]]
    swapped = known(row(7, 8, 8, 8, 0, 0), row(1, 1, 1, 1, 0, 0) > 0)
    assert with_truth(row(4, 4, 4, 4, 4, 0), swapped).tolist() == [[1, 2, 2, 2, 2, 0]]


def test_what_is_left_of_a_false_nucleus_stands_alone():
    sample = known(row(0, 0, 0, 0, 0, 0), row(1, 1, 1, 1, 0, 0) > 0)
    assert with_truth(row(0, 0, 4, 4, 4, 4), sample).tolist() == [[0, 0, 0, 0, 1, 1]]


def test_a_sample_that_is_known_as_a_whole_shows_its_truth():
    labels = row(0, 3, 3, 0, 6, 6)
    sample = replace(known(labels, labels >= 0), annotated=None)
    assert with_truth(row(1, 1, 1, 1, 1, 1), sample).tolist() == [[0, 1, 1, 0, 2, 2]]


def test_nothing_found_and_nothing_known():
    assert not with_truth(row(0, 0), known(row(0, 0), row(1, 0) > 0)).any()
