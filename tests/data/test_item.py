"""Items and their errors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from nucbook.data.item import Item, LazySamples, UnreadableFile
from nucbook.sample import Sample


def test_an_error_names_file_reason_and_way_out():
    error = UnreadableFile("a.png", "it is cut short", "copy it again")
    assert str(error) == "a.png: it is cut short; copy it again."
    assert isinstance(error, ValueError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_the_door_refuses_names_the_files(tmp_path):
    files = tmp_path / "a.png", tmp_path / "b.png"
    for file in files:
        file.touch()
    image = np.zeros((4, 4, 3), np.uint8)
    item = Item("a", files, lambda: Sample(image, np.zeros((5, 5), np.int32), name="a"))
    with pytest.raises(UnreadableFile, match=r"a\.png, .*b\.png: sample 'a': instances are \(5, 5\)"):
        item.read()


def test_lazy_samples_read_only_what_is_asked_for():
    read = []
    image = np.zeros((4, 4, 3), np.uint8)

    def made(i):
        return lambda: read.append(i) or Sample(image, name=str(i))

    samples = LazySamples([Item(str(i), (), made(i)) for i in range(5)])
    assert len(samples) == 5
    assert samples.names == ["0", "1", "2", "3", "4"]
    assert samples[-1].name == "4"
    assert [sample.name for sample in samples[1:3]] == ["1", "2"]
    assert read == [4, 1, 2]
    with pytest.raises(IndexError):
        samples[5]
