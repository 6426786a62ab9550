"""A picture and its label picture."""

from __future__ import annotations

import numpy as np
import pytest

from nucbook.data.readers.paired import read_pair, read_pair_of_mask
from tests.data.layouts import save, tile

IMAGE, LABELS = tile()


@pytest.mark.parametrize(
    "mask",
    [
        (LABELS > 0) * np.uint8(255),
        (LABELS > 0) * np.uint8(1),
        LABELS > 0,
        np.repeat(((LABELS > 0) * np.uint8(255))[..., None], 3, axis=2),
    ],
)
def test_components_of_a_mask_become_nuclei(tmp_path, mask):
    sample = read_pair_of_mask(save(tmp_path / "i.png", IMAGE), save(tmp_path / "m.png", mask), "a", 0.25, {})
    assert np.array_equal(sample.instances, LABELS)  # rectangles in scan order
    assert sample.instances.dtype == np.int32


def test_components_that_touch_at_a_corner_are_one(tmp_path):
    mask = np.zeros(LABELS.shape, np.uint8)
    mask[2:4, 2:4] = mask[4:6, 4:6] = 255
    sample = read_pair_of_mask(save(tmp_path / "i.png", IMAGE), save(tmp_path / "m.png", mask), "a", 0.25, {})
    assert np.unique(sample.instances).tolist() == [0, 1]


@pytest.mark.parametrize("labels", [LABELS, LABELS * 0, np.where(LABELS == 2, 2, 0)])
def test_label_maps_stay_as_they_are(tmp_path, labels):
    files = save(tmp_path / "i.png", IMAGE), save(tmp_path / "m.png", labels.astype(np.uint16))
    for read in (read_pair, read_pair_of_mask):
        assert np.array_equal(read(*files, "a", 0.25, {}).instances, labels)
