"""The losses of CSinGAN by hand, on critics whose scores and gradients one can write down."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nucbook.papers.whichpixel.critics import Critics
from nucbook.papers.whichpixel.gan_losses import gap, gradient_penalty, reconstruction, score

SIZE, BORDER = 20, 5
SLOPE = torch.tensor([2.0, 1.0, 2.0])  # of a linear critic, by colour: its norm is 3


def linear(image: torch.Tensor) -> torch.Tensor:
    """Each window's score is that of its centre pixel's colours, weighted by SLOPE."""
    return F.pad((image * SLOPE[:, None, None]).sum(1, keepdim=True), [-BORDER] * 4)


def mask_of(columns: int) -> torch.Tensor:
    made = torch.zeros(1, 1, SIZE, SIZE)
    made[..., :columns] = 1
    return made


EVERYWHERE = torch.ones(1, 1, SIZE, SIZE)
HALF = torch.full((1, 1, 1, 1), 0.5)


def test_a_score_is_the_mean_over_the_region():
    """Columns 5 to 14 are scored; of them 5 to 7 lie in a mask of 8 columns. Elsewhere the image is zero."""
    image = torch.arange(SIZE).float().expand(1, 3, SIZE, SIZE)  # its column's number
    assert score(linear, image, EVERYWHERE) == pytest.approx(5 * 9.5)
    assert score(linear, image, mask_of(8)) == pytest.approx(5 * 6)
    assert score(linear, image, 1 - mask_of(8)) == pytest.approx(5 * 11)


def test_a_score_does_not_depend_on_how_much_of_the_image_a_component_covers():
    image = torch.ones(1, 3, SIZE, SIZE)
    scores = [score(linear, image, mask_of(columns)) for columns in (6, 10, 20)]
    assert scores == [pytest.approx(5.0)] * 3


def test_the_gap_is_the_fakes_score_less_that_of_the_real_image():
    fake, real = torch.full((1, 3, SIZE, SIZE), 2.0), torch.full((1, 3, SIZE, SIZE), 0.5)
    assert gap(linear, fake, real, mask_of(7), mask_of(9)) == pytest.approx(5 * 1.5)


@pytest.mark.parametrize(("columns", "other"), [(SIZE, SIZE), (12, 12), (8, 12), (12, 8)])
def test_the_penalty_of_a_linear_critic_by_hand(columns, other):
    """The gradient's norm is 3 at each pixel that is scored, 0 in the border: (3 − 1)² and (0 − 1)².

    Of the `w` columns of either mask, rows 5 to 14 of columns 5 to min(w, 15) − 1 are scored.
    """
    fake, real = torch.rand(1, 3, SIZE, SIZE), torch.rand(1, 3, SIZE, SIZE)
    found = gradient_penalty(linear, fake, real, mask_of(columns), mask_of(other), HALF)
    wide = max(columns, other)
    scored, pixels = 10 * (min(wide, 15) - 5), 20 * wide
    assert float(found.detach()) == pytest.approx((4 * scored + 1 * (pixels - scored)) / pixels)


def test_the_norm_is_that_of_each_pixel_and_not_of_the_image():
    """Of the image as a whole it would be 3 · √100, and its penalty 841."""
    unit = lambda image: linear(image) / 3
    found = gradient_penalty(unit, *torch.rand(2, 1, 3, SIZE, SIZE), EVERYWHERE, EVERYWHERE, HALF)
    assert float(found.detach()) == pytest.approx(
        300 / 400, abs=1e-5
    )  # the border alone, where nothing is scored


def test_the_penalty_is_taken_between_the_two_images():
    """A quadratic critic's gradient is x̂ itself: here ¼ · 4 + ¾ · 0 = 1 in each of three colours."""
    quadratic = lambda image: F.pad(image.square().sum(1, keepdim=True) / 2, [-BORDER] * 4)
    fake, real = torch.full((1, 3, SIZE, SIZE), 4.0), torch.zeros(1, 3, SIZE, SIZE)
    quarter = torch.full((1, 1, 1, 1), 0.25)
    found = gradient_penalty(quadratic, fake, real, EVERYWHERE, EVERYWHERE, quarter)
    assert float(found.detach()) == pytest.approx(((3**0.5 - 1) ** 2 * 100 + 300) / 400, abs=1e-5)


def test_the_penalty_trains_the_critic_and_not_the_generator():
    torch.manual_seed(0)
    critics = Critics(4)
    fake = torch.rand(1, 3, SIZE, SIZE, requires_grad=True)
    gradient_penalty(
        critics["foreground"], fake, torch.rand(1, 3, SIZE, SIZE), mask_of(9), mask_of(12), HALF
    ).backward()
    assert fake.grad is None
    weights = {name: p.grad for name, p in critics["foreground"].named_parameters()}
    assert all(weights[name].any() for name in weights if name.endswith("weight"))
    assert all(torch.isfinite(grad).all() for grad in weights.values() if grad is not None)


def test_empty_regions_give_zero_with_a_gradient():
    torch.manual_seed(0)
    critic, nothing = Critics(4)["foreground"], torch.zeros(1, 1, SIZE, SIZE)
    image = torch.rand(1, 3, SIZE, SIZE, requires_grad=True)
    for loss in (
        score(critic, image, nothing),
        gap(critic, image, image, nothing, nothing),
        gradient_penalty(critic, image, image, nothing, nothing, HALF),
    ):
        assert loss == 0
        assert loss.requires_grad
        loss.backward()
    assert not image.grad.any()
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters())


def test_the_reconstruction_is_a_mean_of_squares():
    assert reconstruction(torch.full((1, 3, 4, 5), 3.0), torch.ones(1, 3, 4, 5)) == 4


def test_windows_outside_either_region_do_not_count_in_the_penalty():
    """A critic that adds a pixel and its left neighbour: column 7 of 8 lies in a window outside too.

    Rows 5 to 14: norms 1, 2, 2, 1 in columns 4 to 7. Everywhere else 0, which is penalised by 1.
    """
    bright = lambda image: image[:, :1]
    pair = lambda image: F.pad(bright(image) + bright(image.roll(1, 3)), [-BORDER] * 4)
    images = torch.rand(2, 1, 3, SIZE, SIZE)
    found = gradient_penalty(pair, *images, mask_of(8), mask_of(6), HALF)
    assert float(found.detach()) == pytest.approx((160 - 40 + 20) / 160, abs=1e-5)
