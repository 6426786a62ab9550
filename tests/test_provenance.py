"""By which commit a result was made is told of this checkout alone, and a changed one is noticed."""

from __future__ import annotations

import subprocess

import pytest

from nucbook import provenance
from nucbook.provenance import Provenance, together


def part(commit, clean, day):
    return Provenance(commit, clean, f"2026-01-{day:02}T00:00:00+00:00")


def test_of_several_results_the_last_counts_and_all_must_be_clean():
    parts = [part("a", True, 2), part("b", True, 3), part("c", True, 1)]
    assert together(parts) == parts[1]
    assert together([*parts, part("d", False, 1)]) == part("b", False, 3)
    assert together([part(None, None, 1)]) == part(None, None, 1)
    assert together([]).time >= "2026"


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A checkout in a folder of its own; `repository(*command)` is git there."""
    for name in ("pyproject.toml", "nucbook/provenance.py", "results/ircr.jsonl", "book/intro.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def git(*command):
        own = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", *own, *command], cwd=tmp_path, check=True, capture_output=True)
        provenance.clean.cache_clear()

    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "nucbook" / "provenance.py"))
    for function in (provenance.checkout, provenance.commit, provenance.clean):
        function.cache_clear()
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    yield git
    for function in (provenance.checkout, provenance.commit, provenance.clean):
        function.cache_clear()


@pytest.mark.parametrize(
    ("file", "clean"),
    [
        ("nucbook/provenance.py", False),
        ("book/intro.md", False),
        ("nucbook/losses.py", False),  # untracked
        ("nucbook/papers/mine.py", False),
        ("notes.txt", True),
        ("results/ircr.jsonl", True),  # each run adds to it
    ],
)
def test_a_checkout_is_clean_where_its_commit_holds_what_can_run(repository, tmp_path, file, clean):
    assert provenance.clean() is True
    assert len(provenance.commit()) == 12
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("changed")
    repository("status")
    assert provenance.clean() is clean


def test_an_installed_library_has_no_commit_even_inside_a_repository(repository, tmp_path, monkeypatch):
    inside = tmp_path / "site-packages" / "nucbook" / "provenance.py"
    monkeypatch.setattr(provenance, "__file__", str(inside))
    for function in (provenance.checkout, provenance.commit, provenance.clean):
        function.cache_clear()
    assert (provenance.commit(), provenance.clean()) == (None, None)
