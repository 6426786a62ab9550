"""The generators of CSinGAN: scales, what each sees, norms, sampling, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nucbook.papers.whichpixel import gan
from nucbook.papers.whichpixel.config import GAN
from nucbook.profile import change

TINY = change(GAN.quick(), {"scales": (12, 18, 24), "iterations": (2, 2, 2), "width": 4})
SIZES = [(12, 12), (18, 18), (24, 24)]


@pytest.fixture
def pyramid():
    torch.manual_seed(0)
    return gan.build(TINY, (24, 24))


def inputs(until=3, seed=0):
    torch.manual_seed(seed)
    masks = [(torch.rand(1, 1, *size) > 0.7).float() for size in SIZES[:until]]
    return masks, [torch.randn(1, 3, *size) for size in SIZES[:until]]


# -- scales -------------------------------------------------------------------------------------


def test_scales_are_of_the_longer_side_and_keep_the_shape():
    assert gan.sizes((256, 256), GAN.paper("kumar").scales) == [(s, s) for s in (128, 152, 181, 215, 256)]
    assert gan.sizes((128, 64), (40, 59, 87, 128)) == [(40, 20), (59, 30), (87, 44), (128, 64)]
    assert gan.sizes((256, 256), (40, 128)) == [(80, 80), (256, 256)]  # a larger patch has larger scales


def test_channels_double_every_four_scales():
    generators = gan.build(GAN.paper("kumar"), (256, 256)).generators
    assert [own.body[1].out_channels for own in generators] == [32, 32, 32, 32, 64]


def test_a_mask_stays_a_mask_and_keeps_its_place():
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 4:12, 6:18] = 1
    small = gan.mask_at(mask, (12, 12))
    assert set(small.unique().tolist()) == {0, 1}
    assert torch.equal(small, mask[..., ::2, ::2])
    assert torch.equal(gan.mask_at(mask, (24, 24)), mask)


def test_images_keep_their_mean_and_their_size_where_it_fits():
    image = torch.rand(1, 3, 48, 48)
    assert gan.image_at(image, (12, 12)).mean() == pytest.approx(float(image.mean()), abs=0.02)
    assert gan.enlarged(image, torch.zeros(1, 1, 48, 48)) is image
    assert gan.enlarged(image, torch.zeros(1, 1, 60, 50)).shape == (1, 3, 60, 50)


def test_arrays_come_back():
    image = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    assert np.array_equal(gan.to_image(gan.from_image(image)), image)
    bright = gan.to_image(torch.tensor([1.5, -2.0, 0.0]).reshape(1, 3, 1, 1))
    assert bright[0, 0].tolist() == [255, 0, 128]
    labels = np.array([[0, 7], [3, 0]], np.int32)
    assert gan.from_labels(labels).tolist() == [[[[0, 1], [1, 0]]]]


@pytest.mark.parametrize(
    ("shape", "scales", "message"),
    [
        ((128, 128), (40, 40, 128), "each must be larger than the one before"),
        (
            (24, 24),
            (10, 24),
            r"24×24 px is 10×10 at the coarsest scale.*more than 10 px a side; take a larger",
        ),
        ((24, 10), (24,), r"24×10 px is 24×10"),
    ],
)
def test_scales_that_cannot_be_are_refused(shape, scales, message):
    with pytest.raises(ValueError, match=message):
        gan.sizes(shape, scales)


# -- generators ---------------------------------------------------------------------------------


def test_a_generator_has_five_convolutions_and_adds_to_the_image_before():
    own = gan.Generator(8)
    assert [type(layer).__name__ for layer in own.body] == [
        "ZeroPad2d",
        *["Conv2d", "InstanceNorm2d", "LeakyReLU"] * 4,
        "Conv2d",
        "Tanh",
    ]
    nn.init.zeros_(own.body[-2].weight)
    nn.init.zeros_(own.body[-2].bias)
    image = torch.rand(1, 3, 12, 15)
    made = own(image, torch.randn_like(image), torch.ones(1, 1, 12, 15))
    assert torch.equal(made, image)


def test_a_generator_sees_the_mask_unless_it_is_unconditional():
    image, noise = torch.rand(1, 3, 12, 12), torch.randn(1, 3, 12, 12)
    one, other = torch.ones(1, 1, 12, 12), (torch.rand(1, 1, 12, 12) > 0.5).float()
    for conditional in (True, False):
        torch.manual_seed(0)
        own = gan.Generator(4, conditional)
        assert torch.equal(own(image, noise, one), own(image, noise, other)) != conditional


def test_the_norm_is_batch_normalisation_of_one_image_in_training_and_in_sampling():
    own = gan.Generator(4).train()
    image, noise = torch.rand(3, 3, 12, 12), torch.randn(3, 3, 12, 12)
    mask = torch.ones(3, 1, 12, 12)
    together = own(image, noise, mask)
    alone = torch.cat([own(image[i : i + 1], noise[i : i + 1], mask[:1]) for i in range(3)])
    torch.testing.assert_close(together, alone)
    assert torch.equal(own.eval()(image, noise, mask), together)
    batch_norm = nn.BatchNorm2d(4)
    given = torch.randn(1, 4, 9, 9) * 3 + 1
    torch.testing.assert_close(nn.InstanceNorm2d(4)(given), batch_norm(given))


def test_each_scale_takes_the_image_before_and_its_own_noise(pyramid):
    """Eq. 2 by hand."""
    masks, noises = inputs()
    pyramid.amplitudes.copy_(torch.tensor([1.0, 0.5, 0.1]))
    g = pyramid.generators
    image = g[0](torch.zeros(1, 3, 12, 12), noises[0], masks[0])
    image = g[1](gan.enlarged(image, masks[1]), 0.5 * noises[1], masks[1])
    torch.testing.assert_close(pyramid(masks[:2], noises[:2]), image)
    image = g[2](gan.enlarged(image, masks[2]), 0.1 * noises[2], masks[2])
    torch.testing.assert_close(pyramid(masks, noises), image)
    torch.testing.assert_close(pyramid.until(2)(masks[:2], noises[:2]), pyramid(masks[:2], noises[:2]))
    assert pyramid.until(1).generators[0] is g[0]


def test_the_reconstruction_has_the_fixed_noise_alone(pyramid):
    masks, noises = inputs()
    pyramid.fixed.copy_(noises[0])
    zeros = [noises[0], torch.zeros_like(noises[1]), torch.zeros_like(noises[2])]
    torch.testing.assert_close(pyramid.reconstruction(masks), pyramid(masks, zeros))


def test_a_painting_stands_for_the_coarsest_image(pyramid):
    masks, noises = inputs()
    painting = torch.rand(1, 3, 24, 24)
    found = pyramid(masks, noises, painting)
    image = gan.image_at(painting, (12, 12))
    for n in (1, 2):
        image = pyramid.generators[n](gan.enlarged(image, masks[n]), noises[n], masks[n])
    torch.testing.assert_close(found, image)


# -- sampling -----------------------------------------------------------------------------------


def test_a_fake_depends_on_seed_mask_and_number_alone(pyramid):
    rng = np.random.default_rng(0)
    labels = [rng.integers(0, 2, (24, 24)) for _ in range(3)]
    made = gan.sample(pyramid, labels, TINY.scales, seed=4)
    assert all(own.shape == (24, 24, 3) and own.dtype == np.uint8 for own in made)
    again = gan.sample(pyramid, labels[:2], TINY.scales, seed=4)
    assert all(np.array_equal(a, b) for a, b in zip(made, again))
    assert not np.array_equal(made[0], gan.sample(pyramid, labels[:1], TINY.scales, seed=5)[0])
    same = gan.sample(pyramid, [labels[0]] * 2, TINY.scales, seed=4)
    assert not np.array_equal(same[0], same[1])


def test_a_mask_of_another_size_is_painted_too(pyramid):
    [made] = gan.sample(pyramid, [np.eye(36, 48, dtype=np.int32)], TINY.scales)
    assert made.shape == (36, 48, 3)
    [empty] = gan.sample(pyramid, [np.zeros((24, 24), np.int32)], TINY.scales)
    assert empty.shape == (24, 24, 3)


def test_a_painted_mask_has_the_patchs_two_colours(pyramid):
    image = np.zeros((24, 24, 3), np.uint8)
    labels = np.zeros((24, 24), np.int32)
    labels[4:9, 4:9] = 1
    image[labels > 0], image[labels == 0] = (90, 40, 120), (230, 180, 220)
    colours = gan.colours_of(image, labels)
    assert colours.tolist() == [[230, 180, 220], [90, 40, 120]]
    for own in pyramid.generators:
        nn.init.zeros_(own.body[-2].weight)
        nn.init.zeros_(own.body[-2].bias)
    [made] = gan.sample(pyramid, [labels], TINY.scales, colours=colours)
    assert np.abs(made[14:, 14:].astype(int) - colours[0]).max() <= 1


@pytest.mark.parametrize("value", [0, 1])
def test_a_patch_of_one_component_has_no_two_colours(value):
    with pytest.raises(ValueError, match="no two colours"):
        gan.colours_of(np.zeros((8, 8, 3), np.uint8), np.full((8, 8), value))
