"""Eq. 1 beside a loop over instances; each term moves what it should, and only that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nucbook.papers.weaknucleiseg.labels import IGNORED
from nucbook.papers.weaknucleiseg.losses import (
    gather,
    partial_cross_entropy,
    pull_loss,
    push_loss,
    regulariser,
)


def by_loops(embeddings, labels, alpha, squared, pull_margin=0.5, push_margin=3.0):
    """(pull, push, regulariser), each image and instance for itself, in numpy."""
    terms = np.zeros(3)
    power = 2 if squared else 1
    for image, ids in zip(embeddings.double().numpy(), labels.numpy()):
        known = [i for i in np.unique(ids) if i > 0]
        if not known:
            continue
        pixels = {i: image[:, ids == i].T for i in known}
        means = {i: pixels[i].mean(0) for i in known}
        weight = {i: alpha if i == 1 else 1 for i in known}
        count = len(known)
        for i in known:
            distance = np.linalg.norm(pixels[i] - means[i], axis=1)
            terms[0] += weight[i] * (np.maximum(distance - pull_margin, 0) ** power).mean() / count
            terms[2] += np.linalg.norm(means[i]) / count
            for j in known:
                if i != j:
                    gap = max(push_margin - np.linalg.norm(means[i] - means[j]), 0)
                    terms[1] += min(weight[i], weight[j]) * gap**power / (count * (count - 1))
    return terms / len(labels)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0, 1), st.booleans(), st.integers(0, 5))
def test_the_three_terms_equal_a_loop_over_instances(seed, alpha, squared, most):
    generator = torch.Generator().manual_seed(seed)
    embeddings = 2 * torch.randn(3, 4, 6, 7, generator=generator)
    labels = torch.randint(0, most + 1, (3, 6, 7), generator=generator)
    found = gather(embeddings, labels)
    ours = [pull_loss(found, 0.5, alpha, squared), push_loss(found, 3.0, alpha, squared), regulariser(found)]
    np.testing.assert_allclose(
        [float(term) for term in ours], by_loops(embeddings, labels, alpha, squared), rtol=1e-4, atol=1e-5
    )


def test_by_hand():
    """Two nuclei on a line, at 0 and 2, one pixel of the first a unit away from its mean."""
    embeddings = torch.tensor([[[[-1.0, 1.0, 2.0]]]])  # (1, 1, 1, 3)
    found = gather(embeddings, torch.tensor([[[2, 2, 3]]]))
    assert pull_loss(found, 0.5).item() == pytest.approx(0.5 / 2)  # means over pixels, then over 2 nuclei
    assert push_loss(found, 3.0).item() == pytest.approx(1)  # 3 − 2, both ways, over 2 · 1
    assert regulariser(found).item() == pytest.approx((0 + 2) / 2)


def gradient(loss, embeddings, labels):
    embeddings = embeddings.clone().requires_grad_()
    loss(gather(embeddings, labels)).backward()
    return embeddings.grad


LABELS = torch.tensor([[[0, 1, 1, 2, 2, 3, 3]]])  # ignored, background twice, two nuclei
EMBEDDINGS = torch.tensor([[[[9.0, -1, 1, 2, 4, 3, 5]]]])  # means 0, 3, 4


def test_pull_moves_pixels_to_their_mean():
    """All three, the background's too; a step against the gradient shortens the distance."""
    moved = -gradient(pull_loss, EMBEDDINGS, LABELS)[0, 0, 0]
    assert moved[0] == 0
    assert moved[1] > 0 > moved[2]
    assert moved[3] > 0 > moved[4]
    assert moved[5] > 0 > moved[6]
    within = torch.tensor([[[[9.0, 0, 0.5, 3, 3.5, 4, 4.5]]]])  # nobody farther than the margin
    assert not gradient(pull_loss, within, LABELS).any()


def test_push_moves_nuclei_apart_and_away_from_the_background():
    moved = -gradient(lambda found: push_loss(found, 4.5), EMBEDDINGS, LABELS)[0, 0, 0]
    assert moved[0] == 0
    assert torch.equal(moved[1::2], moved[2::2])  # all pixels of an instance alike
    assert moved[1] < 0 < moved[5]  # the ends go outwards
    far = torch.tensor([[[[9.0, 0, 0, 5, 5, 10, 10]]]])
    assert not gradient(push_loss, far, LABELS).any()


def test_alpha_weighs_the_background_alone():
    only_background = torch.tensor([[[1, 1, 1, 1, 1, 1, 1]]])
    full, half = (pull_loss(gather(EMBEDDINGS, only_background), 0.5, alpha) for alpha in (1.0, 0.5))
    assert half.item() == pytest.approx(full.item() / 2)
    moved = gradient(lambda found: push_loss(found, 4.5, alpha=0.0), EMBEDDINGS, LABELS)[0, 0, 0]
    assert not moved[:3].any()
    assert moved[3:].all()


def test_the_regulariser_moves_every_instance_to_the_origin():
    moved = -gradient(regulariser, EMBEDDINGS + 1, LABELS)[0, 0, 0]
    assert moved[0] == 0
    assert (moved[1:] < 0).all()


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize(
    ("embeddings", "labels"),
    [
        (torch.randn(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int32)),  # nothing known
        (torch.zeros(2, 3, 4, 4), torch.randint(0, 4, (2, 4, 4))),  # all at one place
        (torch.randn(2, 3, 4, 4), torch.ones(2, 4, 4, dtype=torch.int32)),  # background alone
        (torch.randn(1, 3, 1, 2), torch.tensor([[[2, 3]]])),  # nuclei of one pixel
    ],
)
def test_losses_and_gradients_stay_finite(embeddings, labels, squared):
    embeddings = embeddings.clone().requires_grad_()
    found = gather(embeddings, labels)
    loss = pull_loss(found, squared=squared) + push_loss(found, squared=squared) + regulariser(found)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(embeddings.grad).all()


def test_cross_entropy_counts_labelled_pixels_only():
    logits = torch.randn(2, 2, 3, 3, requires_grad=True)
    labels = torch.full((2, 3, 3), IGNORED, dtype=torch.uint8)
    labels[0, 0, 0], labels[1, 2, 2] = 0, 1
    loss = partial_cross_entropy(logits, labels)
    by_hand = -(F.log_softmax(logits, 1)[0, 0, 0, 0] + F.log_softmax(logits, 1)[1, 1, 2, 2]) / 2
    assert loss.item() == pytest.approx(by_hand.item())
    loss.backward()
    assert (logits.grad.abs().sum(1) > 0).sum() == 2


def test_cross_entropy_without_a_label_is_nought_and_finite():
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.full((1, 3, 3), IGNORED, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
