from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nucbook.fingerprint import fingerprint
from nucbook.nuclei import Nuclei
from nucbook.sample import Sample

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(plain)
def test_equal_things_have_one_fingerprint(thing):
    turned = dict(reversed(thing.items())) if isinstance(thing, dict) else thing
    assert fingerprint(thing) == fingerprint(turned)
    assert fingerprint([thing]) == fingerprint((thing,))
    assert len(fingerprint(thing)) == 16


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, True),
        (1, "1"),
        (1, 1.5),
        (None, "None"),
        ([], {}),
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 2}),
        ({1: "a"}, {"1": "a"}),
        ([[1], 2], [[1, 2]]),
        (0.1, 0.1 + 1e-17 + 1e-16),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.zeros((1, 2)), np.zeros((2, 1))),
        (partial(int, base=2), partial(int, base=3)),
        (int, float),
        ({1, 2}, {1, 3}),
    ],
)
def test_unlike_things_have_unlike_ones(a, b):
    assert fingerprint(a) != fingerprint(b)


def test_how_a_number_or_array_is_held_does_not_matter():
    assert fingerprint(3) == fingerprint(3.0) == fingerprint(np.int32(3)) == fingerprint(torch.tensor(3.0))
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert fingerprint(array) == fingerprint(torch.from_numpy(array)) == fingerprint(np.asfortranarray(array))
    assert fingerprint(Path("a/b")) == fingerprint("a/b")
    assert fingerprint(torch.ones(2, dtype=torch.bfloat16)) != fingerprint(
        torch.zeros(2, dtype=torch.bfloat16)
    )


def test_it_is_the_same_everywhere():
    """Results are stored under it, so a change of this value makes all stored runs strangers."""
    assert fingerprint({"a": [1, 0.5, None, "x", True]}, np.arange(3, dtype=np.int32)) == "2af83f90825b5aa5"


def test_samples_are_named_by_their_pixels_and_labels():
    image, labels = np.zeros((4, 5, 3), np.uint8), np.ones((4, 5), np.int32)
    sample = Sample(image, labels, name="a", meta={"organ": "colon"})
    assert fingerprint(sample) == fingerprint(
        Sample(image.copy(), labels.copy(), name="a", meta={"organ": "colon"})
    )
    assert fingerprint(sample) != fingerprint(sample.weaken("nothing"))
    assert fingerprint(sample) != fingerprint(replace(sample, image=image + 1))
    assert fingerprint(Nuclei.from_labels(labels)) != fingerprint(Nuclei((4, 5)))


def test_what_has_no_content_is_refused():
    with pytest.raises(TypeError, match="no fingerprint for a object; give plain data"):
        fingerprint([object()])


@dataclass(frozen=True)
class Config:
    steps: int = 3


def test_dataclasses_by_their_fields():
    assert fingerprint(Config(3)) == fingerprint(Config(3.0))
    assert fingerprint(Config(3)) != fingerprint(Config(4))
