"""Chapters under pytest: executed once and stored for the book, which is built before the summary."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_cache import get_cache

ROOT = Path(__file__).parent.parent
PLUGIN = """\
from pathlib import Path
from nucbook import house
house.ROOT = Path(__file__).parent
house.SCRIPTS = house.ROOT
house.BUILD = house.ROOT / "_build"
house.HTML = house.BUILD / "html"
house.OUTPUTS = house.BUILD / ".jupyter_cache"
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def checkout(tmp_path):
    """A checkout with this one's conftest.py files, one test, and a builder of books that ends with 0."""
    (tmp_path / "book").mkdir()
    for name in ("conftest.py", "book/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "small_house.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n", encoding="utf-8")
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n", encoding="utf-8")
    (tmp_path / "_toc.yml").write_text("", encoding="utf-8")
    builder(tmp_path, 0)
    return tmp_path


def builder(folder: Path, status: int):
    file = folder / "jupyter-book"
    file.write_text(f"#!/bin/sh\necho the builder ran\nexit {status}\n", encoding="utf-8")
    file.chmod(0o755)


def chapter(file: Path, *sources: str, kept: str | None = None) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    if kept is not None:
        cells[-1].outputs = [nbformat.v4.new_output("stream", text=kept)]
        cells[-1].execution_count = len(cells)
        cells[-1].metadata.tags = ["keep_output"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, file)
    return notebook


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-m", "pytest", "-p", "small_house", "-p", "no:cacheprovider", *arguments]
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "100"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def test_a_chapter_is_stored_with_its_pictures_and_a_broken_one_fails_and_is_not(checkout):
    figure = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    where = "import os\nprint('nucbook-test-' in os.environ['HOME'])"
    good = chapter(checkout / "book" / "good.ipynb", figure, where, kept="True\n")
    broken = chapter(checkout / "book" / "broken.ipynb", "print(1)", "1 / 0", "print(3)", kept="3\n")
    other = chapter(checkout / "book" / "other.ipynb", "print('another')", kept="one\n")
    run = pytest_in(
        checkout, "--nbval-lax", "-n", "2", "--dist", "loadscope", "--no-loadscope-reorder", "-v", "book"
    )
    found = re.findall(r"(PASSED|FAILED) book/(\w+)\S*::Cell (\d)", run.stdout.split("= FAILURES =")[0])
    assert {(name, cell): result for result, name, cell in found} == {
        ("good", "0"): "PASSED",
        ("good", "1"): "PASSED",
        ("broken", "0"): "PASSED",
        ("broken", "1"): "FAILED",
        ("broken", "2"): "FAILED",
        ("other", "0"): "FAILED",
    }
    assert "ZeroDivisionError" in run.stdout
    assert "not executed: cell 1 failed" in run.stdout
    cache = get_cache(checkout / "_build" / ".jupyter_cache")
    _, executed = cache.merge_match_into_notebook(good)
    assert any("image/png" in output.get("data", {}) for output in executed.cells[0].outputs)
    assert [cell.execution_count for cell in executed.cells] == [1, 2]
    with pytest.raises(KeyError):
        cache.match_cache_notebook(broken)
    assert cache.match_cache_notebook(other).uri.endswith("other.ipynb")  # executed, though it differs


def test_the_book_is_built_before_the_summary(checkout):
    run = pytest_in(checkout, "--build-book", "test_one.py")
    assert run.returncode == 0, run.stdout
    *_, last = run.stdout.splitlines()
    assert re.search(r"1 passed in", last)
    assert run.stdout.index("the builder ran") < run.stdout.index(last)


def test_a_book_that_cannot_be_built_is_an_error_in_the_summary(checkout):
    builder(checkout, 1)
    run = pytest_in(checkout, "--build-book", "test_one.py")
    assert run.returncode == 1
    assert "ended with status 1" in run.stdout
    assert re.search(r"1 passed, 1 error in", run.stdout.splitlines()[-1])


def test_no_book_is_built_from_chapters_that_failed(checkout):
    (checkout / "test_one.py").write_text("def test_one(): assert False\n", encoding="utf-8")
    run = pytest_in(checkout, "--build-book", "test_one.py")
    assert run.returncode == 1
    assert "the book is not built: a test failed" in run.stdout
    assert "the builder ran" not in run.stdout
