"""Pages as the book's own configuration builds them, seen on a book of one chapter."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
CHAPTER = """\
# A chapter

The area $a = \\pi r^2$ of a disc.
"""


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Folder with the pages of a book of one chapter, whose outputs are stored."""
    folder = tmp_path_factory.mktemp("book")
    for name in ("_ext", "_static", "reference/references.bib"):
        source, target = ROOT / "book" / name, folder / "book" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    config = config.replace("execute_notebooks: cache", "execute_notebooks: off")
    (folder / "_config.yml").write_text(config, encoding="utf-8")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/chapter\n", encoding="utf-8")
    cells = [nbformat.v4.new_markdown_cell(CHAPTER)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "book" / "chapter.ipynb")
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", "--warningiserror", "--keep-going", folder]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "_build" / "html"


@pytest.fixture(scope="module")
def page(html):
    return (html / "book" / "chapter.html").read_text(encoding="utf-8")


def test_a_page_with_formulas_asks_no_server_for_anything(html, page):
    assert r"\(a = \pi r^2\)" in page
    loaded = re.findall(r"<(?:script|link|img)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"", page)
    assert [address for address in loaded if re.match(r"(\w+:)?//", address)] == []
    [mathjax] = [address for address in loaded if "mathjax" in address]
    script = (html / "book" / mathjax.split("?")[0]).resolve()
    assert script.is_file()
    assert any((script.parent / "output" / "chtml" / "fonts" / "woff-v2").glob("MathJax_Main-Regular.woff"))
