"""Who keeps labels: shares of patches, drawn by seed."""

from __future__ import annotations

import pytest

from nucbook.measure import dealt
from tests.data.layouts import write


def names(samples):
    return {sample.name for sample in samples}


def test_shares_are_of_patches_and_lie_within_each_other():
    few, more = (dealt("monuseg", "quick", labels, 256, 0) for labels in ("1/16", "1/4"))
    assert (len(few.labelled), len(few.unlabelled)) == (3, 45)
    assert (len(more.labelled), len(more.unlabelled)) == (12, 36)
    assert names(few.labelled) < names(more.labelled)
    assert all(sample.labelled for sample in few.labelled)
    assert not any(sample.labelled or sample.points is not None for sample in few.unlabelled)
    assert names(dealt("monuseg", "quick", "1/16", 256, 1).labelled) != names(few.labelled)


def test_all_labels_leave_nobody_without():
    parts = dealt("monuseg", "quick", "100%", 256, 0)
    assert (len(parts.labelled), len(parts.unlabelled)) == (48, 0)


def test_validation_takes_whole_images_where_the_set_has_none(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_DATA", str(tmp_path))
    write("monuseg", tmp_path, size=64)
    parts = dealt("monuseg", "short", "1/4", 32, 0)
    image = lambda samples: {sample.meta["image"] for sample in samples}
    assert parts.validation
    assert not image(parts.validation) & image([*parts.labelled, *parts.unlabelled])
    assert not parts.test


def test_what_is_no_share_is_refused():
    for labels in ("points", "1/0"):
        with pytest.raises(ValueError, match="1/8 or 100%"):
            dealt("monuseg", "quick", labels, 256, 0)
