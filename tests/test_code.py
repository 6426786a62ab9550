"""The code that a stage uses is known by what it does, not by how it is written down."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nucbook
from nucbook.code import Home, NoSource, code_of, code_of_module

ASK = """
import sys
from pathlib import Path
from nucbook.code import Home, code_of_module
for module, _, file in (word.partition("=") for word in sys.argv[1:]):
    print(code_of_module(Home(module, Path(file) if file else None)))
assert not {"torch", "nucbook.papers", "nucbook.networks"} & set(sys.modules)
"""
STAGES = ("nucbook.papers.ircr.training", "nucbook.papers.weaknucleiseg.training")


def codes(root: Path, *modules: str) -> list[str]:
    """The code of modules, read by another process from the package in `root`."""
    path = {**os.environ, "PYTHONPATH": str(root)}
    made = subprocess.run(
        [sys.executable, "-c", ASK, *modules], env=path, cwd=root, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.split()


@pytest.fixture
def copied(tmp_path):
    """A copy of the library, to be edited."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(nucbook.__file__).parent, tmp_path / "nucbook", ignore=ignored)
    return tmp_path


def edit(root: Path, file: str, more: str, before: str | None = None):
    """Add text at the end of a file, or in place of another text."""
    path = root / "nucbook" / file
    text = path.read_text(encoding="utf-8")
    assert before is None or before in text
    path.write_text(text + more if before is None else text.replace(before, more, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("papers/ircr/losses.py", (True, False)),
        ("papers/ircr/training.py", (True, False)),
        ("papers/weaknucleiseg/losses.py", (False, True)),
        ("networks/hovernet.py", (True, False)),  # through the package's __init__
        ("networks/unet.py", (True, True)),
        ("training/fit.py", (True, True)),
        ("data/augment.py", (True, True)),
        ("instances/meanshift.py", (False, True)),
        ("papers/ircr/tables.py", (False, False)),
        ("papers/__init__.py", (False, False)),  # the list of methods
        ("networks/__init__.py", (False, False)),  # another network beside the old ones
        ("show/figures.py", (False, False)),
        ("cli/tables.py", (False, False)),
        ("results.py", (False, False)),
    ],
)
def test_an_edit_changes_the_stages_that_use_the_code(copied, before, file, changed):
    edit(copied, file, "\nANOTHER = 1\n")
    now = codes(copied, *STAGES)
    assert tuple(a != b for a, b in zip(before, now)) == changed


@pytest.fixture(scope="module")
def before():
    return codes(Path(nucbook.__file__).parent.parent, *STAGES)


def test_words_and_layout_change_nothing(copied, before):
    path = copied / "nucbook" / "papers" / "ircr" / "losses.py"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'"""(.*?)"""', r'"""Other words. \1"""', text, flags=re.DOTALL)
    text = re.sub(r"\) -> Tensor:\n", ")  -> Tensor:  # as ever\n\n", text)
    assert text.count("Other words") > 3 <= text.count("as ever")
    path.write_text(f"# a head\n\n\n{text}\n# a tail\n", encoding="utf-8")
    assert codes(copied, *STAGES) == before


MINE = """
from . import helpers
from .losses import loss
import numpy
"""


def test_a_package_of_ones_own_counts_with_what_it_imports_of_itself_and_of_the_library(copied):
    package = copied / "mine"
    package.mkdir()
    texts = {
        "__init__": "",
        "training": MINE,
        "losses": "import nucbook.networks.reach",
        "helpers": "A = 1",
        "unused": "",
    }
    for name, text in texts.items():
        (package / f"{name}.py").write_text(text)
    ask = f"mine.training={package / 'training.py'}"
    found = codes(copied, ask)
    for name in ("losses", "helpers", "unused"):
        (package / f"{name}.py").write_text(texts[name] + "\nB = 2\n")
        new = codes(copied, ask)
        assert (new != found) == (name != "unused")
        found = new
    edit(copied, "networks/reach.py", "\nB = 2\n")
    assert codes(copied, ask) != found


def test_a_script_counts_with_the_modules_beside_it(copied):
    (copied / "script.py").write_text("import beside")
    (copied / "beside.py").write_text("A = 1")
    ask = f"script={copied / 'script.py'}"
    found = codes(copied, ask)
    (copied / "beside.py").write_text("A = 2")
    assert codes(copied, ask) != found


CELL = """
from nucbook.networks import UNet
def cell(runner, config):
    'Words.'
    return UNet(2)
"""


def in_a_notebook(text: str, monkeypatch):
    """The function `cell` as IPython would make it: of `__main__`, its text known to inspect alone."""
    import linecache

    name = "<ipython-input-1>"
    monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
    names = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), names)
    return names["cell"]


def test_a_function_of_a_notebook_counts_by_its_text(monkeypatch):
    found = code_of(in_a_notebook(CELL, monkeypatch))
    assert code_of(in_a_notebook(CELL.replace("Words", "Others"), monkeypatch)) == found
    assert code_of(in_a_notebook(CELL.replace("2", "3"), monkeypatch)) != found
    assert code_of(in_a_notebook(CELL.replace("UNet", "HoVerNet"), monkeypatch)) != found


def test_what_is_not_there_is_named():
    with pytest.raises(NoSource, match=r"nucbook\.papers\.none: its source is not here; install"):
        code_of_module(Home("nucbook.papers.none"))
