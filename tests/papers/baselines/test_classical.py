"""The label-free floor: on made stain, and its numbers on real slides."""

import numpy as np
import pytest
from skimage.color import hed2rgb

from nucbook import data
from nucbook.metrics import evaluate_many
from nucbook.papers.baselines import classical
from nucbook.sample import InvalidSample
from nucbook.segmenter import Segmenter


def stained(shape=(96, 128)):
    """(image, label map): four haematoxylin discs, two of them touching, on eosin."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros(shape, np.int32)
    circles = (30, 30, 12), (30, 52, 12), (66, 40, 10), (60, 96, 14)
    for i, (row, column, radius) in enumerate(circles, start=1):
        labels[((rows - row) ** 2 + (columns - column) ** 2 < radius**2) & (labels == 0)] = i
    dyes = np.zeros((*shape, 3))
    dyes[..., 0] = np.where(labels > 0, 0.12, 0.02)
    dyes[..., 1] = 0.05
    noise = np.random.default_rng(0).normal(0, 0.01, (*shape, 3))
    return (np.clip(hed2rgb(dyes) + noise, 0, 1) * 255).astype(np.uint8), labels


def test_finds_and_parts_stained_discs():
    image, labels = stained()
    found = classical.segment(image)
    assert found.dtype == np.int32
    assert found.max() == 4
    scores = evaluate_many([(labels, found)]).mean
    assert scores["dice"] > 0.97
    assert scores["pq"] > 0.9


def test_eosin_alone_is_no_nucleus():
    rows, columns = np.mgrid[:96, :128]
    dyes = np.zeros((96, 128, 3))
    dyes[..., 0] = np.where((rows - 40) ** 2 + (columns - 30) ** 2 < 144, 0.12, 0.02)
    dyes[..., 1] = np.where((rows - 50) ** 2 + (columns - 90) ** 2 < 144, 0.2, 0.03)  # a red cell
    found = classical.segment((hed2rgb(dyes) * 255).astype(np.uint8))
    assert found[40, 30] > 0
    assert not found[:, 70:].any()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_image_holds_no_nuclei(value):
    assert not classical.segment(np.full((40, 50, 3), value, np.uint8)).any()


def test_small_pieces_are_debris():
    image, _ = stained()
    all_four = classical.foreground(image)
    large = classical.foreground(image, classical.Config(min_area=500))
    assert all_four[66, 40]
    assert not large[66, 40]
    assert large[60, 96]


def test_refuses_what_is_no_image():
    with pytest.raises(InvalidSample, match="channels"):
        classical.segment(np.zeros((9, 9, 5), np.uint8))


def test_predicts_as_a_segmenter_and_survives_saving(tmp_path):
    image, _ = stained()
    segmenter = Segmenter({}, classical.METHOD, classical.Config.quick())
    assert np.array_equal(segmenter(image).instances > 0, classical.segment(image) > 0)
    segmenter.save(tmp_path)
    assert np.array_equal(Segmenter.load(tmp_path)(image).instances, segmenter(image).instances)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "part", "dice", "aji", "pq"),
    [
        ("kumar", "test", 0.747, 0.418, 0.368),
        ("tnbc", "all", 0.705, 0.459, 0.387),
        ("consep", "test", 0.678, 0.274, 0.211),
    ],
)
def test_the_floor_on_real_slides(name, part, dice, aji, pq):
    try:
        samples = data.load(name, part)
    except data.MissingDataset as error:
        pytest.skip(str(error))
    scores = evaluate_many([(s.label_map, classical.segment(s.image)) for s in samples]).mean
    assert (scores["dice"], scores["aji"], scores["pq"]) == pytest.approx((dice, aji, pq), abs=0.001)
