"""A downloaded chapter installs nucbook where it is missing, and does nothing where it is there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

URL = "https://example.org/somebody/nucbook"


@pytest.fixture(scope="module")
def downloads(extension):
    return extension("downloads")


@pytest.fixture
def chapter(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("# β"), nbformat.v4.new_code_cell("import nucbook")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "chapter.ipynb")
    return tmp_path / "chapter.ipynb"


def test_the_cell_comes_first_and_once(downloads, chapter):
    for _ in range(2):
        downloads.begin(chapter, URL, "main")
    notebook = nbformat.read(chapter, 4)
    nbformat.validate(notebook)
    first, *others = notebook.cells
    assert f'%pip install -q "git+{URL}@main"' in first.source
    assert [cell.source for cell in others] == ["# β", "import nucbook"]


def test_no_button_opens_a_notebook_where_nothing_installs_nucbook():
    """Colab would take the repository's notebook, without the cell; Binder installs requirements.txt."""
    config = yaml.safe_load((Path(__file__).parent.parent / "_config.yml").read_text(encoding="utf-8"))
    assert [key for key in config["launch_buttons"] if key.endswith("_url")] == ["binderhub_url"]


def test_without_an_address_the_cell_says_what_is_missing(downloads, chapter):
    downloads.begin(chapter, "", "main")
    code = "".join(json.loads(chapter.read_text(encoding="utf-8"))["cells"][0]["source"])
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0  # here it is there
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert "ModuleNotFoundError: get the book's repository, then: %pip install" in run.stderr
