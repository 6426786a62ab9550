"""Blocks: no nucleus twice, none lost, wherever the grid lies."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nucbook.data.tissue import simulate
from nucbook.instances import stitch
from nucbook.instances.watershed import split_by_distance
from nucbook.nuclei import Nuclei


def ellipses(size, count, seed):
    """Label map of ellipses, up to 25 px long, none buried, some cut by the border."""
    generator, labels = np.random.default_rng(seed), np.zeros((size, size), np.int32)
    for i in range(1, count + 1):
        ellipse = np.zeros(labels.shape, np.uint8)
        centre, axes = generator.integers(0, size, 2).tolist(), generator.integers(7, 13, 2).tolist()
        cv2.ellipse(ellipse, centre, axes, 30, 0, 360, 1, -1)
        if not labels[ellipse > 0].any():
            labels[ellipse > 0] = i
    return labels


def decode_from_colours(pixels):
    """Read ids from colours: a decoder that sees the same nucleus in every crop."""
    return Nuclei.from_labels(pixels.astype(np.int32) @ (1, 256, 0))


def as_rgb(labels):
    return np.stack([labels % 256, labels // 256, np.zeros_like(labels)], -1).astype(np.uint8)


def boxes_and_areas(nuclei):
    return sorted((*box, area) for box, area in zip(nuclei.boxes.tolist(), nuclei.areas.tolist()))


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(0, 10))
def test_cores_tile_the_image(height, width, block, margin):
    count = np.zeros((height, width), int)
    for part in stitch.blocks((height, width), block, margin):
        top, left, bottom, right = part.core
        count[top:bottom, left:right] += 1
        assert max(bottom - top, right - left) <= block
        wider = np.add(part.core, (-margin, -margin, margin, margin))
        assert part.view == tuple(np.clip(wider, 0, (height, width, height, width)))
    assert (count == 1).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(20, 200), st.integers(0, 5))
def test_no_nucleus_twice_and_none_lost(block, seed):
    labels = ellipses(200, 60, seed)
    parts = list(stitch.segment(as_rgb(labels), decode_from_colours, block, margin=28))
    assert len(parts) == len(stitch.blocks(labels.shape, block))
    assert boxes_and_areas(Nuclei.concatenate(parts)) == boxes_and_areas(Nuclei.from_labels(labels))


def test_centroid_on_a_seam_belongs_to_one_block():
    labels = np.zeros((20, 20), np.int32)
    labels[8:12, 4:6] = 1  # centroid row 9.5: on the seam of two blocks
    parts = list(stitch.segment(as_rgb(labels), decode_from_colours, 10, margin=5))
    assert [len(part) for part in parts] == [0, 0, 1, 0]
    assert parts[2].boxes.tolist() == [[8, 4, 12, 6]]


def test_shifting_the_grid_by_half_a_block_changes_at_most_one_nucleus_in_a_hundred():
    image, half = simulate("breast", size=800, seed=1).image, 80
    decode = lambda pixels: Nuclei.from_labels(split_by_distance(pixels[..., 0] < 150))
    whole = Nuclei.concatenate(stitch.segment(image, decode, block=160, margin=64))
    part = Nuclei.concatenate(stitch.segment(image[half:, half:], decode, block=160, margin=64))
    inner = lambda nuclei: nuclei[(nuclei.centroids > half + 40).all(1)]  # clear of the cut itself
    first, second = inner(whole), inner(part.shifted(half, half, image.shape[:2]))
    assert len(first) > 200
    changed = set(boxes_and_areas(first)) ^ set(boxes_and_areas(second))
    assert len(changed) <= 0.01 * len(first)


def test_reader_is_asked_for_windows_only():
    class Slide:
        shape = (50, 40, 3)
        largest = 0

        def __getitem__(self, window):
            rows, columns = window
            self.largest = max(self.largest, rows.stop - rows.start, columns.stop - columns.start)
            return np.zeros((rows.stop - rows.start, columns.stop - columns.start, 3), np.uint8)

    slide = Slide()
    assert sum(len(n) for n in stitch.segment(slide, decode_from_colours, block=10, margin=3)) == 0
    assert slide.largest == 16


def test_nucleus_longer_than_the_margin_is_said():
    labels = np.zeros((60, 60), np.int32)
    labels[5:55, 20] = 1
    with pytest.warns(UserWarning, match=r"nucleus at \(\d+, 20\) is longer than the margin"):
        list(stitch.segment(as_rgb(labels), decode_from_colours, 20, margin=4))


def test_refusals():
    image = np.zeros((30, 30, 3), np.uint8)
    with pytest.raises(ValueError, match="block 0, margin 5: give a block of at least 1 px"):
        stitch.segment(image, decode_from_colours, block=0, margin=5)
    with pytest.raises(ValueError, match=r"reader gave uint16 \(30, 30, 3\).*convert the image to RGB first"):
        next(stitch.segment(image.astype(np.uint16), decode_from_colours))
    with pytest.raises(ValueError, match=r"reader gave uint8 \(30, 30\)"):
        next(stitch.segment(image[..., 0], decode_from_colours))
    with pytest.raises(ValueError, match=r"nuclei of \(3, 3\) for a crop of \(30, 30\)"):
        next(stitch.segment(image, lambda pixels: Nuclei((3, 3))))
