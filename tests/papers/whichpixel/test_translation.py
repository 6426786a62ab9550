"""pix2pix and CycleGAN: who learns from what, the fakes they make, that they learn to paint."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nucbook.data.tissue import simulate
from nucbook.papers.whichpixel import translation
from nucbook.papers.whichpixel.config import Masks, Translation
from nucbook.papers.whichpixel.translation import Drawn, PatchCritic, Translator, translated_samples
from nucbook.profile import change
from nucbook.training.prepare import Models
from nucbook.training.stages import OutOfTime, StageRunner

TINY = change(Translation.quick(), {"width": 4, "blocks": 1, "crop": 32, "steps": 2})
MASKS = change(Masks.quick(), {"count": 2})


@pytest.fixture(scope="module")
def windows():
    return [simulate("liver", 48, seed=seed) for seed in (3, 10)]


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    masks = (torch.rand(2, 1, 2, 32, 32) < 0.4).float()
    return Drawn(torch.rand(1, 3, 32, 32) * 2 - 1, masks[0, :1, 0][None], masks[1, :1, 1][None])


@pytest.fixture
def models():
    torch.manual_seed(0)
    return Models(
        painter=Translator(1, 3, 4, 1),
        outliner=Translator(3, 1, 4, 1),
        critic=PatchCritic(3, 4),
        mask_critic=PatchCritic(1, 4),
    )


def runner(folder, **limits) -> StageRunner:
    return StageRunner(0, folder, progress=False, **limits)


def reached(network, loss) -> bool:
    network.zero_grad()
    loss.backward(retain_graph=True)
    return any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())


def test_a_critic_scores_windows_of_70_px():
    critic = PatchCritic(3, 2)
    image = torch.zeros(1, 3, 256, 256, requires_grad=True)
    scores = image
    for module in critic:  # norms mix all pixels: the window is that of the convolutions
        scores = scores if isinstance(module, torch.nn.InstanceNorm2d) else module(scores)
    (slope,) = torch.autograd.grad(scores[0, 0, 15, 15], image)
    rows = slope.abs().sum((0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70


@pytest.mark.parametrize("kind", ["pix2pix", "cyclegan"])
def test_each_player_learns_from_its_own_losses(kind, models, drawn):
    if kind == "pix2pix":
        models["critic"] = PatchCritic(4, 4)
    told = getattr(translation, f"{kind}_critic")(models, drawn)
    for loss in told.values():
        assert not reached(models.painter, loss)
        assert not reached(models.outliner, loss)
    assert reached(models.critic, told["critic"])
    made = getattr(translation, f"{kind}_generator")(models, drawn, TINY)
    assert all(reached(models.painter, loss) for name, loss in made.items() if name != "mask passed")
    if kind == "cyclegan":
        assert reached(models.mask_critic, told["mask critic"])
        assert not reached(models.critic, told["mask critic"])
        for name in ("mask passed", "image cycle", "mask cycle"):
            assert reached(models.outliner, made[name])
        assert not reached(models.outliner, made["passed"])


def test_the_learning_rate_falls_to_nothing_over_the_second_half():
    assert [translation.falling(step, 8) for step in (0, 4, 6, 8)] == [1, 1, 0.5, 0]


@pytest.mark.parametrize("kind", ["pix2pix", "cyclegan"])
def test_every_window_gives_its_masks_and_their_fakes(kind, windows, tmp_path):
    made = translated_samples(runner(tmp_path), MASKS, TINY, windows, kind)
    assert len(made) == len({sample.name for sample in made}) == 4
    for fake in made:
        assert fake.image.shape == (48, 48, 3)
        assert fake.meta["synthetic"]
    again = translated_samples(runner(tmp_path), MASKS, TINY, windows, kind)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(made, again))
    with pytest.raises(OutOfTime):
        translated_samples(runner(tmp_path / "none", minutes=0), MASKS, TINY, windows, kind)


def test_a_window_that_is_no_multiple_of_the_stride_is_painted_as_it_is(windows):
    painter = Translator(1, 3, 4, 1).eval()
    for shape in ((30, 33), (32, 32)):
        assert translation.painted(painter, windows[0].instances[: shape[0], : shape[1]]).shape == (*shape, 3)


@pytest.mark.slow
def test_pix2pix_learns_to_paint_nuclei_dark(windows, tmp_path):
    config = change(TINY, {"width": 8, "steps": 120, "learning_rate": 2e-3})
    contrast = lambda own: own.image[own.instances == 0].mean() - own.image[own.instances > 0].mean()
    for fake in translated_samples(runner(tmp_path), MASKS, config, windows[:1], "pix2pix"):
        assert contrast(fake) > contrast(windows[0]) / 4
