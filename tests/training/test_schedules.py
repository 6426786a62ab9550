from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucbook.training import Constant, Cosine, StepDecay


def test_schedules_by_hand():
    assert [Constant()(i, 4) for i in range(4)] == [1, 1, 1, 1]
    assert [Constant(warm_up=3)(i, 9) for i in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert [Cosine()(i, 4) for i in (0, 2, 4)] == pytest.approx([1, 0.5, 0])
    assert [Cosine(warm_up=1, floor=0.2)(i, 5) for i in (0, 1, 3, 5)] == pytest.approx([0.5, 1, 0.6, 0.2])
    decay = StepDecay((0.5, 0.75), factor=0.1)
    assert [decay(i, 8) for i in (0, 3, 4, 5, 6, 7)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@given(
    schedule=st.sampled_from([Constant(3), Cosine(3, 0.1), StepDecay((0.3, 0.6), 0.5, warm_up=3)]),
    steps=st.integers(12, 50),
)
def test_rises_then_never_rises_again_and_stays_positive(schedule, steps):
    factors = [schedule(i, steps) for i in range(steps)]
    assert factors[:3] == sorted(factors[:3])
    assert factors[3:] == sorted(factors[3:], reverse=True)
    assert all(0 < factor <= 1 for factor in factors)
