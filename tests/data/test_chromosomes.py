"""Simulated metaphase spreads: 46 chromosomes, 24 classes, bands, crossings."""

import numpy as np
import pytest

from nucbook.data.chromosomes import CENTROMERE, CLASS_NAMES, LENGTH, bands, load, simulate


@pytest.fixture(scope="module")
def spreads():
    return [simulate(seed=seed) for seed in range(6)]


def test_a_spread_has_a_human_karyotype(spreads):
    for spread in spreads:
        count = np.bincount(spread.nuclei.classes, minlength=25)
        assert (count[1:23] == 2).all()
        assert tuple(count[23:]) in {(2, 0), (1, 1)}
    assert {int((s.nuclei.classes == 24).sum()) for s in spreads} == {0, 1}  # both sexes occur


def test_the_classes_have_their_names():
    assert list(CLASS_NAMES) == list(range(1, 25))
    assert [CLASS_NAMES[i] for i in (1, 22, 23, 24)] == ["1", "22", "X", "Y"]
    assert len(LENGTH) == len(CENTROMERE) == 24
    assert (CENTROMERE < 0.51 * LENGTH).all()  # the short arm comes first


def test_the_picture_is_grey_and_the_boxes_are_tight(spreads):
    spread = spreads[0]
    assert spread.shape == (512, 512)
    assert (spread.image[..., 0] == spread.image[..., 2]).all()
    np.testing.assert_array_equal(spread.nuclei.boxes, spread.nuclei.tight().boxes)


def test_the_same_seed_gives_the_same_spread(spreads):
    again = simulate(seed=2)
    np.testing.assert_array_equal(again.image, spreads[2].image)
    np.testing.assert_array_equal(again.nuclei.boxes, spreads[2].nuclei.boxes)
    assert (again.image != spreads[3].image).any()


def test_chromosomes_are_darker_than_the_glass(spreads):
    for spread in spreads:
        inside = spread.label_map > 0
        assert spread.image[inside].mean() < spread.image[~inside].mean() - 20


def test_some_chromosomes_cross(spreads):
    for spread in spreads:
        covered = sum(spread.nuclei.areas)
        assert covered > np.count_nonzero(spread.label_map) + 50


def test_where_two_cross_both_absorb(spreads):
    """Beer–Lambert: a crossing is darker than the chromosomes are elsewhere."""
    single, crossing = [], []
    for spread in spreads:
        depth = np.zeros(spread.shape, int)
        for (r0, c0, r1, c1), mask in zip(spread.nuclei.boxes, spread.nuclei.masks):
            depth[r0:r1, c0:c1] += mask
        single.append(spread.image[depth == 1].mean())
        crossing.append(spread.image[depth > 1].mean())
    assert np.mean(crossing) < np.mean(single)


def test_area_follows_the_length_of_the_class(spreads):
    areas = np.zeros(24)
    for spread in spreads:
        count = np.bincount(spread.nuclei.classes)[spread.nuclei.classes]
        np.add.at(areas, spread.nuclei.classes - 1, spread.nuclei.areas / count)
    assert np.corrcoef(areas, LENGTH)[0, 1] > 0.95


def test_bands_are_fixed_and_differ_between_classes():
    patterns = np.array([bands(i) for i in CLASS_NAMES])
    np.testing.assert_array_equal(patterns[0], bands(1))
    assert patterns.min() >= 0
    assert patterns.max() <= 1
    likeness = np.corrcoef(patterns) - np.eye(24)
    assert likeness.max() < 0.9


def test_other_sizes():
    spread = simulate(size=(256, 400), seed=1)
    assert spread.shape == (256, 400)
    assert len(spread.nuclei) == 46
    with pytest.raises(ValueError, match="size 64: bands could not be seen; give at least 128 px"):
        simulate(size=64)


def test_the_set_is_as_promised():
    parts = {part: load(part) for part in ("train", "validation", "test")}
    assert [len(samples) for samples in parts.values()] == [12, 4, 8]
    names = [s.name for samples in parts.values() for s in samples]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match="metaphase has no part 'val'; there are train, validation, test"):
        load("val")
