"""Each term by hand and beside a loop; what it moves, and what it leaves alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nucbook.papers.baselines.hovernet_losses import (
    cross_entropy,
    dice_loss,
    hv_gradient_loss,
    hv_loss,
    supervised_losses,
)
from nucbook.targets import hv_maps


def everywhere(labels):
    return torch.ones_like(labels, dtype=torch.bool)


def logits_of(probability):
    """Logits (B, 2, H, W) whose softmax gives nucleus this probability."""
    return torch.stack([1 - probability, probability], 1).log()


PROBABILITY = torch.tensor([[[0.5, 0.8, 0.1, 0.4]]])
NUCLEUS = torch.tensor([[[True, True, False, False]]])
VALID = torch.tensor([[[True, True, True, False]]])


def test_dice_by_hand():
    by_hand = 1 - (2 * 1.3 + 1e-3) / (1.4 + 2 + 1e-3)
    assert dice_loss(logits_of(PROBABILITY), NUCLEUS, VALID).item() == pytest.approx(by_hand)


def test_dice_is_of_the_whole_batch():
    logits, nucleus = torch.randn(2, 2, 3, 4), torch.rand(2, 3, 4) < 0.5
    joined = [torch.cat(list(t), -1)[None] for t in (logits, nucleus)]
    ours = dice_loss(logits, nucleus, everywhere(nucleus))
    assert ours.item() == pytest.approx(dice_loss(*joined, everywhere(joined[1])).item())


def test_cross_entropy_by_hand():
    by_hand = -(math.log(0.5) + math.log(0.8) + math.log(0.9)) / 3
    assert cross_entropy(logits_of(PROBABILITY), NUCLEUS, VALID).item() == pytest.approx(by_hand)


def test_hv_error_by_hand():
    hv, target = torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4)
    hv[0, 0, 0], hv[0, 1, 0], target[0, 1, 0] = torch.tensor([1.0, 0, 0, 9]), 2, 1
    assert hv_loss(hv, target, VALID).item() == pytest.approx((1 + 3 * 1) / 2 / 3)


@pytest.mark.parametrize(("map_", "along"), [(0, 3), (1, 2)])
def test_gradients_are_of_each_map_in_its_own_direction(map_, along):
    """A slope of 0.1 a pixel is 1.2 for the kernel; across it there is none."""
    slope = torch.linspace(0, 1.1, 12)
    nucleus = torch.zeros(1, 12, 12, dtype=torch.bool)
    nucleus[0, 4:8, 3:8] = True
    for direction, expected in ((along, 1.2**2), (5 - along, 0)):
        hv = torch.zeros(1, 2, 12, 12)
        hv[:, map_] = slope[:, None] if direction == 2 else slope
        loss = hv_gradient_loss(hv, torch.zeros_like(hv), nucleus, everywhere(nucleus))
        assert loss.item() == pytest.approx(expected, abs=1e-6)


def gradient_error_by_loops(hv, target, nucleus, valid):
    """Kernel, border and mean, pixel by pixel."""
    total, count = 0.0, 0
    error = np.pad((hv - target).double().numpy(), [(0, 0), (0, 0), (2, 2), (2, 2)], "edge")
    known = np.pad(valid.numpy(), [(0, 0), (2, 2), (2, 2)], constant_values=True)
    for b, row, column in np.argwhere(nucleus.numpy()):
        if not known[b, row : row + 5, column : column + 5].all():
            continue
        slopes = np.zeros(2)
        for i in range(-2, 3):
            for j in range(-2, 3):
                if i or j:
                    here = error[b, :, row + 2 + i, column + 2 + j]
                    slopes += here * np.array([j, i]) / (i * i + j * j)
        total, count = total + (slopes**2).sum(), count + 1
    return total / max(count, 1)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0.8, 1))
def test_gradient_error_equals_a_loop(seed, nuclei, known):
    generator = torch.Generator().manual_seed(seed)
    hv, target = torch.randn(2, 2, 2, 6, 7, generator=generator)
    nucleus = torch.rand(2, 6, 7, generator=generator) < nuclei
    valid = torch.rand(2, 6, 7, generator=generator) < known
    ours = hv_gradient_loss(hv, target, nucleus, valid).item()
    assert ours == pytest.approx(gradient_error_by_loops(hv, target, nucleus, valid), rel=1e-4, abs=1e-6)


def labels_of(name):
    labels = torch.zeros(2, 16, 20, dtype=torch.int32)
    if name == "two nuclei":
        labels[0, 2:9, 3:8], labels[0, 2:9, 8:14] = 1, 2
    if name == "one giant":
        labels[:] = 1
    return labels


@pytest.mark.parametrize("name", ["two nuclei", "none", "one giant"])
@pytest.mark.parametrize("share", [1.0, 0.7, 0.0])
def test_supervised_terms_reach_both_branches_and_stay_finite(name, share):
    labels = labels_of(name)
    valid = torch.rand(2, 16, 20, generator=torch.Generator().manual_seed(0)) < share
    logits, hv = (torch.randn(2, 2, 16, 20).requires_grad_() for _ in range(2))
    terms = supervised_losses(logits, hv, labels > 0, hv_maps(labels), valid)
    assert list(terms) == ["dice", "cross_entropy", "mse", "msge"]
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) and term >= 0 for term in terms.values())
    for values in (logits, hv):
        assert torch.isfinite(values.grad).all()
        if share < 1:
            assert not values.grad[(~valid)[:, None].expand_as(values)].any()
    assert bool(logits.grad.any()) == bool(hv.grad.any()) == (share > 0)
    if share == 0:
        assert sum(terms.values()).item() == pytest.approx(0)


def test_the_truth_costs_nothing():
    labels = labels_of("two nuclei")
    sure = logits_of((labels > 0).float().clamp(1e-6, 1 - 1e-6))
    terms = supervised_losses(sure, hv_maps(labels), labels > 0, hv_maps(labels), everywhere(labels))
    assert sum(terms.values()).item() == pytest.approx(0, abs=1e-4)


def test_a_nucleus_cut_by_its_image_counts_as_foreground_alone():
    """Whatever is predicted of its HV maps, no loss changes; its probability still counts."""
    labels = torch.zeros(1, 24, 24, dtype=torch.int32)
    labels[0, :6, 4:10], labels[0, 12:20, 12:20] = 1, 2
    whole = labels != 1
    terms = lambda logits, hv: supervised_losses(
        logits, hv, labels > 0, hv_maps(labels), torch.ones_like(whole), whole
    )
    logits = torch.zeros(1, 2, 24, 24)
    right = hv_maps(labels)
    wrong = torch.where(labels == 1, 0.5 - right, right)
    for name, loss in terms(logits, wrong).items():
        assert loss == terms(logits, right)[name], name
    assert terms(logits, wrong)["mse"] == terms(logits, wrong)["msge"] == 0
    surer = logits.clone()
    surer[:, 1][labels == 1] = 4
    assert terms(surer, right)["cross_entropy"] < terms(logits, right)["cross_entropy"]
    assert terms(surer, right)["dice"] < terms(logits, right)["dice"]
