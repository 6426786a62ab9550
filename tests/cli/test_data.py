"""`nucbook data …` says what it found, and fails where a script must notice."""

from __future__ import annotations

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from nucbook import data
from nucbook.cli.data import app
from nucbook.data.catalog import CATALOG
from tests.data.layouts import save, tile, write


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("NUCBOOK_DATA", str(tmp_path / "root"))
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_list_tells_what_is_here(run, tmp_path):
    write("tnbc", tmp_path / "root")
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(CATALOG)
    assert [line for line in lines if line.endswith("[here]")] == [
        "tnbc       50 images, 4,028 nuclei, CC BY 4.0  [here]"
    ]


def test_where_tells_folder_and_source(run, tmp_path):
    shown = run("where", "pannuke").stdout
    assert shown.startswith("PanNuke is not here.")
    assert f"unpack into {tmp_path / 'root' / 'PanNuke'}, so that it holds" in shown
    write("pannuke", tmp_path / "root")
    assert run("where", "pannuke").stdout.startswith("PanNuke is here.")


def test_check_fails_where_a_file_does(run, tmp_path):
    write("consep", tmp_path / "root")
    whole = run("check", "consep")
    assert whole.exit_code == 0
    assert "train: 2 images, 6 nuclei" in whole.stdout
    save(tmp_path / "root" / "CoNSeP" / "Train" / "Images" / "train_3.png", tile()[0])
    broken = run("check", "consep")
    assert broken.exit_code == 1
    assert "PROBLEM: " in broken.stdout
    assert "train_3.mat: it is missing" in broken.stdout


def test_check_of_a_folder(run, tmp_path):
    save(tmp_path / "mine" / "a.png", tile()[0])
    save(tmp_path / "mine" / "a_labels.png", tile()[1].astype(np.uint16))
    assert "all: 1 images, 3 nuclei" in run("check", tmp_path / "mine").stdout


def test_pack_and_use_it(run, tmp_path):
    write("tnbc", tmp_path / "root")
    result = run("pack", "tnbc", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "train: 30 images\n" in result.stdout
    assert len(data.load("tnbc", "all", root=tmp_path / "out")) == 50
    again = run("pack", "tnbc", "--out", tmp_path / "out")
    assert again.exit_code == 1
    assert "is there already" in again.stderr


def test_pack_names_what_did_not_fit(run, tmp_path):
    write("tnbc", tmp_path / "root", size=64)
    run("pack", "tnbc", "--out", tmp_path / "whole")
    whole = sum(file.stat().st_size for file in (tmp_path / "whole").rglob("*") if file.is_file()) / 1e6
    shown = run("pack", "tnbc", "--out", tmp_path / "out", "--max-mb", whole * 0.8).stdout
    (fitted, left, names) = re.search(r"train: (\d+) images; (\d+) did not fit: (.*)", shown).groups()
    assert int(fitted) + int(left) == 30
    assert len(names.split(", ")) == int(left) > 0
    assert set(names.split(", ")) <= {item.name for item in data.items("tnbc", "train")}


@pytest.mark.parametrize("command", ["where", "check", "pack --out out"])
def test_unknown_sets_list_the_known(run, command):
    result = run(*command.split(), "nowhere")
    assert result.exit_code == 1
    assert "there are monuseg, kumar" in result.stderr


@pytest.mark.parametrize("words", [("check", "lizard"), ("pack", "lizard", "--out", "out")])
def test_missing_sets_say_where_to_get_them(run, words):
    result = run(*words)
    assert result.exit_code == 1
    assert "get it:  https://warwick.ac.uk" in result.stderr
