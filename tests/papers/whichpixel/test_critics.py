"""Each critic of CSinGAN sees its component and nothing else."""

from __future__ import annotations

import pytest
import torch

from nucbook.papers.whichpixel.config import COMPONENTS
from nucbook.papers.whichpixel.critics import Critic, Critics, inner, region
from nucbook.papers.whichpixel.gan_losses import gap, score

SIZE = 24


@pytest.fixture
def mask():
    """A nucleus at the left: columns 0 to 11."""
    made = torch.zeros(1, 1, SIZE, SIZE)
    made[..., :12] = 1
    return made


@pytest.fixture
def critics():
    torch.manual_seed(0)
    made = Critics(8)
    with torch.no_grad():
        for weight in made.parameters():
            weight *= 5  # they begin small, and so do the scores
    return made


def test_a_critic_scores_windows_of_eleven_pixels(critics):
    image = torch.randn(2, 3, 11, 15, requires_grad=True)
    made = critics["global"](image)
    assert made.shape == (2, 1, 1, 5)
    made[0, 0, 0, 0].backward()
    seen = image.grad[0].abs().sum(0) > 0
    assert seen[:, :11].all()
    assert not seen[:, 11:].any()
    assert not image.grad[1].any()  # no norm: an image is scored alone


def test_a_critic_has_no_norm_and_five_convolutions():
    kinds = [type(layer).__name__ for layer in Critic(8)]
    assert kinds == ["Conv2d", "LeakyReLU"] * 4 + ["Conv2d"]
    assert all(layer.padding == (0, 0) for layer in Critic(8) if isinstance(layer, torch.nn.Conv2d))


def test_regions_divide_the_image(mask):
    assert torch.equal(region("global", mask), torch.ones_like(mask))
    assert torch.equal(region("foreground", mask), mask)
    assert torch.equal(region("foreground", mask) + region("background", mask), torch.ones_like(mask))


def test_the_border_that_a_critic_loses_is_cut_off(mask, critics):
    where = inner(mask)
    assert where.shape == critics["global"](torch.zeros(1, 3, SIZE, SIZE)).shape
    assert torch.equal(where, mask[..., 5:-5, 5:-5])


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_critic_sees_its_region_alone(component, mask, critics):
    """What lies elsewhere neither changes the score nor gets a gradient; what lies in it does both."""
    torch.manual_seed(1)
    image = torch.randn(1, 3, SIZE, SIZE, requires_grad=True)
    where = region(component, mask)
    score(critics[component], image, where).backward()
    moved = image.grad.abs().sum(1, keepdim=True) > 0
    assert not moved[where == 0].any()
    assert moved[where == 1].float().mean() > 0.7  # corners lie in few windows
    before = score(critics[component], image, where)
    with torch.no_grad():
        elsewhere = score(critics[component], image + 5 * (1 - where), where)
        there = score(critics[component], image + 5 * where, where)
    torch.testing.assert_close(before, elsewhere)
    assert (before - there).abs() > 1e-4


def test_each_critic_learns_from_its_own_gap_alone(mask, critics):
    fake, real = torch.randn(1, 3, SIZE, SIZE), torch.randn(1, 3, SIZE, SIZE)
    gap(critics["foreground"], fake, real, mask, mask).backward()
    reached = {
        name: any(p.grad is not None and p.grad.any() for p in own.parameters())
        for name, own in critics.items()
    }
    assert reached == {"global": False, "foreground": True, "background": False}


def test_the_critics_share_no_weight_and_begin_apart(critics):
    weights = [own[0].weight for own in critics.values()]
    assert not any(torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])
    assert list(Critics(4, ("background",))) == ["background"]


@pytest.mark.parametrize("components", [(), ("global", "global")])
def test_a_discriminator_without_critics_or_with_one_twice_is_refused(components):
    with pytest.raises(ValueError, match="choose one or more of global, foreground, background"):
        Critics(8, components)
