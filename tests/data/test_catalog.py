"""What is known of the sets, and which share images."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from nucbook.data.catalog import CATALOG, overlap
from nucbook.data.layouts import KUMAR, LAYOUTS

BOOK = Path(__file__).parents[2] / "book" / "reference"


def test_ten_sets_each_with_a_layout():
    assert len(set(CATALOG) - {"monuseg622"}) == 10  # MoNuSeg, divided once more
    assert set(CATALOG) == set(LAYOUTS)


@pytest.mark.parametrize("name", CATALOG)
def test_an_entry_is_complete(name):
    entry = CATALOG[name]
    texts = (entry.title, entry.holds, entry.split, entry.licence, entry.size, entry.source, entry.folder)
    assert all(texts)
    assert entry.layout
    assert f"{{{entry.cite}," in (BOOK / "references.bib").read_text(encoding="utf-8")
    if entry.expected:
        assert sum(images for images, _ in entry.expected.values()) == entry.images
        assert sum(nuclei for _, nuclei in entry.expected.values()) == entry.nuclei
        assert entry.counted


@pytest.mark.parametrize("name", CATALOG)
def test_the_page_says_what_the_catalogue_says(name):
    entry, page = CATALOG[name], (BOOK / "datasets.md").read_text(encoding="utf-8")
    section = page.split(f"### {name}\n")[1].split("\n#")[0]
    assert entry.cite in section
    if name not in ("kumar", "monuseg622", "digestpath"):  # these refer to monuseg and lizard
        assert f"<{entry.source.split()[0]}>" in section
        assert entry.licence.removeprefix("n").removesuffix(" (unconfirmed)") in section
        assert f"`{entry.folder}`" in section
    for part, (images, _) in entry.expected.items():
        assert f"`{part}`" in section
        assert str(images) in section
    [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    nuclei = "?" if entry.nuclei is None else f"{entry.nuclei:,}" + " ✓" * entry.counted
    assert row == f"| `{name}` | {entry.images:,} | {nuclei} |"


def test_sets_that_share_images():
    shared = {frozenset(pair) for pair in combinations(CATALOG, 2) if overlap(*pair)}
    assert shared == {
        frozenset(pair)
        for pair in (
            ("kumar", "monuseg"),
            ("kumar", "pannuke"),
            ("monuseg", "pannuke"),
            ("consep", "lizard"),
            ("digestpath", "lizard"),
            ("lizard", "pannuke"),
            ("kumar", "lizard"),  # they may, through PanNuke
            ("lizard", "monuseg"),
            ("monuseg622", "monuseg"),
            ("monuseg622", "kumar"),
            ("monuseg622", "pannuke"),
            ("monuseg622", "lizard"),
        )
    }
    assert "same 30 images" in overlap("monuseg", "kumar")
    assert overlap("tnbc", "consep") == ""


@pytest.mark.parametrize("name", CATALOG)
def test_overlap_is_symmetric_and_reflexive(name):
    assert overlap(name, name)
    for other in CATALOG:
        assert overlap(name, other) == overlap(other, name)


def test_sets_in_one_folder_share_images():
    for a, b in combinations(CATALOG, 2):
        if CATALOG[a].folder == CATALOG[b].folder:
            assert overlap(a, b)


def test_an_unknown_set_is_no_set_apart():
    with pytest.raises(KeyError, match="imagenet"):
        overlap("kumar", "imagenet")
    with pytest.raises(KeyError, match="aaa"):
        overlap("aaa", "kumar")


def test_the_kumar_split():
    parts = [KUMAR[part] for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [12, 4, 14]
    names = [name for part in parts for name in part]
    assert len(set(names)) == 30
    assert len(KUMAR["organ"]) == 44  # and the 14 test images of MoNuSeg
    assert set(names) < set(KUMAR["organ"])
