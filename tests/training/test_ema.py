from __future__ import annotations

import pytest
import torch
from torch import nn

from nucbook.training import Average


def numbers(weight: float, count: int) -> nn.Module:
    net = nn.BatchNorm1d(2)
    with torch.no_grad():
        net.weight.fill_(weight)
        net.running_mean.fill_(weight * 10)
        net.num_batches_tracked.fill_(count)
    return net


def test_weights_and_statistics_move_and_counts_are_copied():
    teacher, student = numbers(1.0, 3), numbers(2.0, 7)
    Average("student", 0.75, warm_up=False).update(teacher, student, step=0)
    assert teacher.weight.tolist() == [1.25, 1.25]
    assert teacher.running_mean.tolist() == [12.5, 12.5]
    assert teacher.num_batches_tracked == 7
    assert student.weight.tolist() == [2.0, 2.0]


def test_the_first_steps_forget_the_start():
    average = Average("student", 0.9)
    assert [average.decay_at(i) for i in (0, 1, 3, 9, 50)] == pytest.approx([0, 0.5, 0.75, 0.9, 0.9])
    teacher, student = numbers(100.0, 0), numbers(0.0, 0)
    for i, value in enumerate([1.0, 2.0, 6.0]):
        student.weight.data.fill_(value)
        average.update(teacher, student, i)
    assert teacher.weight.tolist() == pytest.approx([3.0, 3.0])  # the plain mean so far


def test_unlike_networks_are_refused():
    with pytest.raises(ValueError, match="the average of 'student' is built otherwise"):
        Average("student").update(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), 0)


def test_no_gradient_is_kept():
    teacher, student = numbers(1.0, 0), numbers(2.0, 0)
    Average("student").update(teacher, student, 3)
    assert teacher.weight.grad_fn is None
    assert teacher.weight.requires_grad
