"""Fakes of patches: what they carry, what they share, several processes, bad input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nucbook.data.tissue import simulate
from nucbook.papers.whichpixel.config import GAN, Masks
from nucbook.papers.whichpixel.gan_training import Diverged, Rounds
from nucbook.papers.whichpixel.masks import synthetic_masks
from nucbook.papers.whichpixel.synthesis import csingans, synthetic_samples
from nucbook.profile import change
from nucbook.training.stages import OutOfTime, StageRunner

GANS = change(GAN.quick(), {"scales": (16, 40), "iterations": (2, 2), "width": 4})
MASKS = change(Masks.quick(), {"count": 3})


@pytest.fixture(scope="module")
def patches():
    return [simulate("liver", 40, seed=seed) for seed in (3, 10)]


def runner(folder, **limits) -> StageRunner:
    return StageRunner(0, folder, progress=False, **limits)


def test_each_patch_gives_its_masks_and_their_fakes(patches, tmp_path):
    made = synthetic_samples(runner(tmp_path), MASKS, GANS, patches, processes=1)
    assert len(made) == len({sample.name for sample in made}) == 6
    for k, patch in enumerate(patches):
        for fake, mask in zip(made[3 * k :], synthetic_masks(patch.instances, MASKS)):
            assert np.array_equal(fake.instances, mask)
            assert fake.image.shape == patch.image.shape
            assert fake.mpp == patch.mpp
            assert fake.meta["patient"] == patch.meta["patient"]
            assert fake.meta["synthetic"]
    again = synthetic_samples(runner(tmp_path), MASKS, GANS, patches, processes=1)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(made, again))


def test_runs_that_choose_the_same_window_share_its_gan(patches, tmp_path):
    synthetic_samples(runner(tmp_path), MASKS, GANS, patches[:1], processes=1)
    synthetic_samples(runner(tmp_path), MASKS, GANS, patches, processes=1)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_generator_that_sees_no_mask_paints_over_it(patches, tmp_path):
    config = change(GANS, {"conditional": False, "components": ("global",)})
    made = synthetic_samples(runner(tmp_path), MASKS, config, patches[:1], processes=1)
    for fake in made:
        if fake.instances.any():
            assert fake.image[fake.instances > 0].mean() < fake.image[fake.instances == 0].mean()


@pytest.mark.slow
def test_two_processes_make_what_one_makes(patches, tmp_path):
    lot = [(own.image, own.instances, synthetic_masks(own.instances, MASKS)) for own in patches]
    together = csingans(runner(tmp_path / "two"), GANS, lot)
    assert len(list((tmp_path / "two").iterdir())) == 2
    for one, other in zip(together, csingans(runner(tmp_path / "one"), GANS, lot, processes=1)):
        for key, value in one["weights"].items():
            torch.testing.assert_close(value, other["weights"][key])
    with pytest.raises(OutOfTime):
        csingans(runner(tmp_path / "none", minutes=0), GANS, lot)


def test_a_patch_without_nuclei_gives_no_fakes_and_says_so(patches, tmp_path):
    bare = replace(patches[1], instances=np.zeros((40, 40), np.int32), class_of={}, name="bare")
    with pytest.warns(UserWarning, match="no images are made from bare: no nucleus there"):
        made = synthetic_samples(runner(tmp_path), MASKS, GANS, [bare, patches[0]], processes=1)
    assert len(made) == 3
    with pytest.raises(ValueError, match="no patch holds a nucleus: there is nothing to make images from"):
        synthetic_samples(runner(tmp_path), MASKS, GANS, [bare])


def test_a_patch_whose_gan_diverges_gives_no_fakes_and_says_so(patches, tmp_path, monkeypatch):
    draw, calls = Rounds.__call__, iter(range(10**6))

    def drawn(self, generator):
        if next(calls) == 0:
            raise Diverged("off")
        return draw(self, generator)

    monkeypatch.setattr(Rounds, "__call__", drawn)
    once = change(GANS, {"tries": 1})
    with pytest.warns(UserWarning, match=r"no images are made from patch 1: scale 0 of a GAN diverged"):
        made = synthetic_samples(runner(tmp_path), MASKS, once, patches, processes=1)
    assert {fake.name.removesuffix(f"-fake-{i % 3}") for i, fake in enumerate(made)} == {patches[1].name}
    monkeypatch.setattr(Rounds, "__call__", lambda self, generator: (_ for _ in ()).throw(Diverged("off")))
    with pytest.raises(Diverged, match="scale 0 of a GAN diverged 1 times"):
        synthetic_samples(runner(tmp_path / "both"), MASKS, once, patches, processes=1)
