"""Detections of mirror images come back in place, and those of one nucleus become one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nucbook.instances.boxes import Detections
from nucbook.papers.bass.views import averaged, merged


def bright(image: np.ndarray) -> Detections:
    """A detector that finds the bright square of an image, and marks its left upper quarter."""
    rows, columns = np.nonzero(image[..., 0] > 127)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    x, y, x_end, y_end = box[0].astype(int)
    crop = torch.from_numpy(image[y:y_end, x:x_end, 0] / 255)[None, None]
    mask = torch.nn.functional.interpolate(crop, size=(28, 28))[0].numpy()
    return Detections(image.shape[:2], box, np.array([0.8], np.float32), mask)


def test_mirror_images_agree_with_the_image():
    image = np.zeros((30, 40, 3), np.uint8)
    image[4:12, 7:21] = 153
    image[4:8, 7:14] = 255  # so that a mask knows its sides
    plain, found = bright(image), averaged(bright, image)
    assert found.boxes == pytest.approx(plain.boxes)
    assert found.scores == pytest.approx(plain.scores)
    assert found.masks == pytest.approx(plain.masks)


def one(box, score, value, shape=(50, 50)):
    return Detections(
        shape,
        np.array([box], np.float32),
        np.array([score], np.float32),
        np.full((1, 28, 28), value, np.float32),
    )


def nothing(shape=(50, 50)):
    empty = np.zeros(0, np.float32)
    return Detections(shape, empty.reshape(0, 4), empty, empty.reshape(0, 28, 28))


def test_boxes_and_masks_are_weighted_means_and_scores_are_shares():
    found = merged([one([0, 0, 10, 10], 0.9, 1.0), one([0, 0, 10, 14], 0.3, 0.0)])
    assert found.boxes == pytest.approx(np.array([[0, 0, 10, 11]]))
    assert found.scores == pytest.approx([0.6])
    assert found.masks == pytest.approx(np.full((1, 28, 28), 0.75))


def test_what_one_view_shows_alone_loses_its_weight():
    found = merged([one([0, 0, 10, 10], 0.8, 1), nothing(), nothing(), one([30, 30, 40, 40], 0.4, 1)])
    assert found.scores == pytest.approx([0.2, 0.1])
    assert len(merged([nothing()] * 4)) == 0


def test_two_boxes_of_one_view_count_once():
    twice = Detections(
        (50, 50),
        np.array([[0, 0, 10, 10], [0, 0, 10, 11]], np.float32),
        np.array([0.8, 0.7], np.float32),
        np.ones((2, 28, 28), np.float32),
    )
    assert merged([twice]).scores == pytest.approx([0.8])
