"""Colours of images made those of others."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from skimage.color import rgb2lab

from nucbook.data.prepare import prepare
from nucbook.data.reinhard import KUMAR, Colours, Normalised, colours, normalise
from nucbook.data.tissue import simulate
from nucbook.method import Method
from nucbook.segmenter import Segmenter


@pytest.fixture(scope="module")
def image():
    return simulate("colon", 128, seed=3).image


def test_colours_are_those_of_cielab_over_tissue(image):
    lab = rgb2lab(image).reshape(-1, 3)
    lab = lab[lab[:, 0] < 95]
    own = colours(image)
    assert np.allclose(own.mean, lab.mean(0), atol=0.15)  # OpenCV reads its cube roots from a table
    assert np.allclose(own.deviation, lab.std(0), atol=0.05)


def test_glass_does_not_count(image):
    beside_glass = np.concatenate([image, np.full_like(image, 250)], 1)
    assert np.allclose(colours(beside_glass), colours(image))
    assert np.allclose(colours(np.full((8, 8, 3), 255, np.uint8)).mean, (100, 0, 0), atol=0.1)


def test_an_image_gets_the_wanted_colours(image):
    made = colours(normalise(image, colours(image)))
    assert np.allclose(made.mean, KUMAR.mean, atol=2.5)  # of some pixels RGB has no such colour
    assert np.allclose(made.deviation, KUMAR.deviation, atol=2.5)
    assert np.abs(np.array(colours(image).mean) - KUMAR.mean).max() > 5


def test_two_stains_of_one_tissue_become_alike(image):
    other = (255 * (image / 255.0) ** 0.7 * [1, 0.9, 1]).astype(np.uint8)
    gap = lambda a, b: np.abs(a.astype(float) - b).mean()
    assert gap(*(normalise(i, colours(i)) for i in (image, other))) < gap(image, other) / 4


def test_its_own_colours_change_nothing(image):
    own = colours(image)
    assert np.abs(normalise(image, own, own).astype(int) - image).max() <= 1


def test_a_flat_image_gets_no_contrast():
    grey = np.full((16, 16, 3), 180, np.uint8)
    grey[0, 0] = 181
    assert np.ptp(normalise(grey, colours(grey)).astype(int), axis=(0, 1)).max() <= 3


def test_large_images_are_measured_in_windows():
    tile = simulate("kidney", 128, seed=1).image
    large = np.tile(tile, (17, 17, 1))  # 2176 px
    assert np.allclose(colours(large), colours(tile), atol=0.3)
    own = colours(tile)
    seen = Normalised(large, own)
    assert seen.shape == large.shape
    assert np.array_equal(seen[128:256, 0:128], normalise(tile, own))


@dataclass(frozen=True)
class Config:
    wanted: Colours | None = KUMAR


def method(seen):
    def decode(maps, config):
        return np.zeros(maps.shape[1:], int)

    def maps(networks, image, config):
        seen.append((image[0].permute(1, 2, 0) * 255).round().byte().numpy())
        return image

    return Method("colourful", Config, lambda config: {}, maps, decode, colours=lambda config: config.wanted)


def test_a_method_learns_from_and_predicts_images_in_its_colours(image):
    wanted = normalise(image, colours(image))
    seen: list[np.ndarray] = []
    Segmenter({}, method(seen), Config())(image)
    list(Segmenter({}, method(seen), Config()).segment(image))
    list(Segmenter({}, method(seen), Config(None)).segment(image))
    assert all(np.array_equal(own, one) for own, one in zip(seen, (wanted, wanted, image), strict=True))
    sample = simulate("colon", 128, seed=3)
    parts = prepare(method([]), Config(), [sample], [sample])
    assert np.array_equal(parts.labelled[0].image, wanted)
    assert np.array_equal(parts.validation[0].image, image)
    kept = prepare(method([]), Config(None), [replace(sample)])
    assert np.array_equal(kept.labelled[0].image, image)
