"""Connected components of a mask, against scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label

from nucbook.instances.components import numbered, without_small


@pytest.mark.parametrize("area", [0, 1, 4, 1000])
def test_small_components_are_left_out(area):
    mask = np.random.default_rng(0).random((40, 50)) < 0.4
    components = label(mask, connectivity=1)
    large = np.bincount(components.ravel()) >= area
    expected = mask & large[components]
    assert np.array_equal(without_small(mask, area), expected)
    found = numbered(mask, area)
    assert found.dtype == np.int32
    assert np.array_equal(found, label(expected, connectivity=1))  # both number in reading order


def test_corners_do_not_touch():
    assert numbered(np.eye(3, dtype=bool), 1).tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 3]]
