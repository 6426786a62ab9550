"""A chapter that fails to execute has a banner and no outputs, in this build and in the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from docutils import nodes
from docutils.utils import new_document

ROOT = Path(__file__).parent.parent
EXTENSIONS = ROOT / "book" / "_ext"
CONFIG = f"""\
title: a book
only_build_toc_files: true
execute: {{execute_notebooks: cache, timeout: 3}}
sphinx:
  local_extensions: {{failed_chapters: {EXTENSIONS.as_posix()}}}
"""


@pytest.fixture(scope="module")
def failed(extension):
    return extension("failed_chapters")


def page(*sources: str) -> nodes.document:
    """A page with a title and a code cell with an output for each source, as myst-nb makes it."""
    document = new_document("page")
    section = nodes.section("", nodes.title("", "Losses"), ids=["losses"])
    for source in sources:
        code = nodes.container(nb_element="cell_code_source")
        code += nodes.literal_block(source, source)
        output = nodes.container(nb_element="cell_code_output")
        output += nodes.literal_block("kept: True", "kept: True")
        section += nodes.container("", code, output, nb_element="cell_code")
    document += section
    return document


def test_the_banner_names_the_cell_and_the_error_and_the_outputs_go(failed):
    document = page("a = 1", "b = 1 / 0", "c = 2")
    traceback = "in the cell:\n---\nb = 1 / 0\n---\n\x1b[31mZeroDivisionError\x1b[0m: division by zero\n"
    failed.mark(document, traceback)
    title, banner, *cells = document[0].children
    assert title.astext() == "Losses"
    assert "stopped in code cell 2 of 3" in banner.astext()
    assert banner[-1].astext() == "ZeroDivisionError: division by zero"
    assert len(cells) == 3
    assert "kept: True" not in document.astext()


def test_time_that_ran_out_is_the_error_of_a_long_cell_too(failed):
    long = "\n".join(f"step({i})" for i in range(20))
    document = page("a = 1", long)
    lines = long.split("\n")
    traceback = (
        "nbclient.CellTimeoutError: A cell timed out while it was being executed, after 3 seconds.\n"
        f"Here is a preview of the cell contents:\n---\n{lines[:5]}\n...\n{lines[-5:]}\n---\n"
    )
    failed.mark(document, traceback)
    assert "stopped in code cell 2 of 2" in document.astext()
    assert "A cell timed out while it was being executed, after 3 seconds." in document.astext()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise ValueError('no such slide')", "ValueError: no such slide"),
        ("import time\ntime.sleep(60)", "after 3 seconds"),
    ],
)
def test_a_page_of_a_failed_chapter_in_this_build_and_the_next(tmp_path, source, error):
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter"),
        nbformat.v4.new_code_cell("print('an output', 6 * 7)"),
        nbformat.v4.new_code_cell(source),
        nbformat.v4.new_code_cell("print('SPN joined:', 1 == 1)"),
    ]
    cells[-1].outputs = [nbformat.v4.new_output("stream", text="SPN joined: True\n")]
    cells[-1].execution_count = 3
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "chapter.ipynb")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: chapter\n", encoding="utf-8")
    (tmp_path / "_config.yml").write_text(CONFIG, encoding="utf-8")
    program = "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", "--warningiserror", "--keep-going", str(tmp_path)]
    for _ in range(2):
        run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
        assert run.returncode != 0, run.stdout
        html = (tmp_path / "_build" / "html" / "chapter.html").read_text(encoding="utf-8")
        assert "This chapter failed" in html
        assert "stopped in code cell 2 of 3" in html
        assert error in html
        assert "SPN joined: True" not in html
        assert "an output 42" not in html
