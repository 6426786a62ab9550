"""MIAC by hand and pair by pair; what it moves, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nucbook.papers.baselines.hovernet import feature_maps
from nucbook.papers.ircr.losses import MAP, miac_loss
from nucbook.papers.ircr.matching import boundary, match, match_batch
from nucbook.targets import hv_maps


def logits_of(probability):
    """Logits (B, 2, H, W) whose softmax gives nucleus this probability."""
    return torch.stack([1 - probability, probability], 1).log()


def test_feature_maps_are_probability_and_hv():
    probability, hv = torch.tensor([[[0.5, 0.8, 0.1, 0.4]]]), torch.randn(1, 2, 1, 4)
    maps = feature_maps(logits_of(probability), hv)
    assert torch.allclose(maps[:, 0], probability)
    assert torch.equal(maps[:, 1:], hv)


def line(*ids):
    """A label map of one row."""
    return np.array([[ids]], np.int32)


def test_eq_3_by_hand():
    """One pair, 0 1 1 1 0 0 beside 0 0 1 1 1 0; without its boundaries."""
    pairs = match_batch(line(0, 1, 1, 1, 0, 0), line(0, 0, 1, 1, 1, 0), radius=1.6, unit=1)
    student = torch.tensor([9.0, 9, 2, 5, 7, 9]).view(1, 1, 1, 6)
    teacher = torch.tensor([8.0, 3, 1, 1, 8, 8]).view(1, 1, 1, 6)
    by_hand = (3**2 + (2 - 1) ** 2 + (5 - 1) ** 2 + 7**2) / MAP
    assert miac_loss(student, teacher, pairs, beta=0, union=False).item() == pytest.approx(by_hand)
    by_hand = ((9 - 3) ** 2 + (2 - 1) ** 2 + (5 - 1) ** 2 + (7 - 8) ** 2) / MAP
    assert miac_loss(student, teacher, pairs, beta=0, union=True).item() == pytest.approx(by_hand)


def eq_3(student, teacher, labels, beta, union):
    """As it is printed, pair by pair; norms are sums over MAP."""
    per_image = []
    for f_s, f_t, t_map, s_map in zip(student.double().numpy(), teacher.double().numpy(), *labels):
        found = match(t_map, s_map)
        total = 0.0
        for t, s in found:
            masks = [(m == i).astype(np.uint8) for m, i in ((t_map, t), (s_map, s))]
            edges = [boundary(mask) for mask in masks]
            if union:
                masks, edges = ([np.maximum(*both)] * 2 for both in (masks, edges))
            total += ((f_s * masks[1] - f_t * masks[0]) ** 2).sum()
            total += beta * ((f_s[0] * edges[1] - f_t[0] * edges[0]) ** 2).sum()
        per_image.append(total / MAP / max(len(found), 1))
    return np.mean(per_image)


def random_labels(rng, images=2, count=6):
    labels = np.zeros((images, 20, 24), np.int32)
    for image in labels:
        for i in range(1, count + 1):
            row, column = rng.integers(0, (17, 21))
            image[row : row + rng.integers(1, 6), column : column + rng.integers(1, 6)] = i
    return labels


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 8), st.floats(0, 2), st.booleans())
def test_miac_equals_eq_3_pair_by_pair(seed, count, beta, union):
    rng = np.random.default_rng(seed)
    labels = random_labels(rng, count=count), random_labels(rng, count=count)
    student, teacher = torch.from_numpy(rng.normal(size=(2, 2, 3, 20, 24))).float()
    ours = miac_loss(student, teacher, match_batch(*labels), beta, union).item()
    assert ours == pytest.approx(eq_3(student, teacher, labels, beta, union), rel=1e-4, abs=1e-8)


def maps_of(labels, seed=0):
    """Logits and HV maps near a label map, as leaves of a graph."""
    labels, generator = torch.from_numpy(labels), torch.Generator().manual_seed(seed)
    noise = 0.1 * torch.randn(4, *labels.shape, generator=generator)
    sign = (labels > 0) * 4.0 - 2
    logits = torch.stack([noise[0] - sign, noise[1] + sign], 1)
    return logits.requires_grad_(), (hv_maps(labels) + noise[2:].transpose(0, 1)).requires_grad_()


def run(teacher_labels, student_labels):
    """MIAC's loss and the gradients of teacher and student, two maps each."""
    teacher, student = maps_of(teacher_labels, 0), maps_of(student_labels, 1)
    pairs = match_batch(teacher_labels, student_labels)
    loss = miac_loss(feature_maps(*student), feature_maps(*teacher), pairs, union=False)
    loss.backward()
    return loss.item(), [t.grad for t in teacher], [s.grad for s in student], pairs


def images(*boxes, shape=(24, 40)):
    labels = np.zeros((1, *shape), np.int32)
    for i, (row, column) in enumerate(boxes, start=1):
        labels[0, row : row + 6, column : column + 6] = i
    return labels


def test_miac_reaches_the_students_matched_nuclei_and_nothing_else():
    loss, teacher, student, pairs = run(images((3, 3), (14, 30)), images((3, 4), (14, 4)))
    assert loss > 0
    assert teacher == [None, None]
    own = (pairs.nuclei.both + pairs.nuclei.student)[0] > 0
    edge = (pairs.boundaries.both + pairs.boundaries.student)[0] > 0
    logits, hv = (grad[0].abs().sum(0) > 0 for grad in student)
    assert torch.equal(logits, own | edge)
    assert torch.equal(hv, own)
    assert not logits[12:].any()  # those without a partner


def test_what_sticks_out_over_its_partner_is_drawn_to_the_background():
    _, _, (logits, hv), pairs = run(images((3, 3)), images((3, 5)))
    outside = pairs.nuclei.student[0] > 0
    assert outside.sum() == 12
    assert (logits[0, 1][outside] > 0).all()  # a step lowers the logit of nucleus
    assert hv[0, :, outside].any()
    lonely = (pairs.nuclei.teacher[0] > 0) & (pairs.boundaries.student[0] + pairs.boundaries.both[0] == 0)
    assert not logits[0, :, lonely].any()


def test_in_the_union_of_both_masks_the_student_is_drawn_to_the_teacher_on_either_side():
    teacher_labels, student_labels = images((3, 3)), images((3, 5))
    teacher, (logits, hv) = feature_maps(*maps_of(teacher_labels, 0)), maps_of(student_labels, 1)
    pairs = match_batch(teacher_labels, student_labels)
    miac_loss(feature_maps(logits, hv), teacher, pairs, union=True).backward()
    out, missing = pairs.nuclei.student[0] > 0, pairs.nuclei.teacher[0] > 0
    assert (logits.grad[0, 1][out] > 0).all()  # a step lowers the logit of nucleus
    assert (logits.grad[0, 1][missing] < 0).all()  # and raises it where it is missing
    assert hv.grad[0, :, missing].any()


def test_a_step_brings_the_student_nearer():
    labels = images((3, 3), (10, 20))
    teacher, (logits, hv) = feature_maps(*maps_of(labels, 0)), maps_of(labels, 1)
    pairs = match_batch(labels, labels)
    before = miac_loss(feature_maps(logits, hv), teacher, pairs)
    before.backward()
    rate = 1000  # the loss is small: over 256² pixels
    moved = feature_maps(logits - rate * logits.grad, hv - rate * hv.grad)
    assert miac_loss(moved, teacher, pairs) < before


NOTHING, GIANT = np.zeros((1, 24, 40), np.int32), np.ones((1, 24, 40), np.int32)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        (NOTHING, NOTHING),
        (NOTHING, images((3, 3))),  # a teacher that predicts nothing
        (images((3, 3)), NOTHING),
        (images((2, 2), (16, 2)), images((2, 30), (16, 30))),  # everything unmatched
    ],
)
def test_without_a_pair_the_loss_is_nought_and_so_is_its_gradient(teacher, student):
    loss, _, gradients, pairs = run(teacher, student)
    assert pairs.count.tolist() == [0]
    assert loss == 0
    assert all(torch.equal(grad, torch.zeros_like(grad)) for grad in gradients)


def test_one_giant_instance():
    loss, teacher, gradients, _ = run(GIANT, GIANT)
    assert 0 < loss < 1
    assert teacher == [None, None]
    assert all(torch.isfinite(grad).all() and grad.any() for grad in gradients)


def test_an_image_without_a_pair_adds_nought_to_the_mean():
    boxes, other = images((3, 3)), images((3, 4))
    alone = run(boxes, other)[0]
    teacher, student = maps_of(boxes, 0), maps_of(other, 1)
    twice = [torch.cat([feature_maps(*maps)] * 2) for maps in (student, teacher)]
    pairs = match_batch(np.concatenate([boxes, boxes]), np.concatenate([other, NOTHING]))
    assert miac_loss(*twice, pairs, union=False).item() == pytest.approx(alone / 2)


def test_agreement_costs_nothing():
    labels = images((3, 3), (3, 9), (14, 20))
    maps = feature_maps(*maps_of(labels))
    assert miac_loss(maps, maps, match_batch(labels, labels)).item() == 0
