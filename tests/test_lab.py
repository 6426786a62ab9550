"""The reader's copy of the chapters: refreshed while nobody edited it, and rendered whole by JupyterLab."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from nucbook import lab

BOOK = Path(__file__).parent.parent / "book"
PAGE = Path("one/data.ipynb")
REFERENCES = """\
@misc{kingma2015adam, author = {Kingma, Diederik P. and Ba, Jimmy}, title = {Adam}, year = {2015}}
@misc{oord2018cpc, author = {van den Oord, A. and Li, Y. and Vinyals, O.}, title = {CPC}, year = {2018}}
"""
RENDERED = {"admonition", "exercise", "glossary", "grid", "grid-item-card", "solution", "term"}


@pytest.fixture
def book(tmp_path):
    """A book of one chapter and a glossary."""
    folder = tmp_path / "book"
    for name in ("one", "reference"):
        (folder / name).mkdir(parents=True)
    (folder / "reference" / "references.bib").write_text(REFERENCES, encoding="utf-8")
    (folder / "reference" / "api.md").write_text("# API", encoding="utf-8")
    glossary = "```{glossary}\nTeacher\n  Of a {term}`student`, {cite}`oord2018cpc`.\n```\n"
    (folder / "reference" / "glossary.md").write_text(glossary, encoding="utf-8")
    (folder / "reference" / "bibliography.md").write_text("```{bibliography}\n:all:\n```\n", encoding="utf-8")
    chapter(folder, "print(1)")
    return folder


def chapter(book: Path, code: str, text: str = "# Data"):
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), book / PAGE)


def code_of(folder: Path) -> str:
    return nbformat.read(folder / PAGE, 4).cells[1].source


def change(folder: Path, **values):
    notebook = nbformat.read(folder / PAGE, 4)
    notebook.cells[1].update(values)
    nbformat.write(notebook, folder / PAGE)


def test_a_copy_is_made_and_the_book_stays_as_it_is(book, tmp_path):
    before = (book / PAGE).read_bytes()
    assert lab.refresh(book, tmp_path / "lab") == []
    assert code_of(tmp_path / "lab") == "print(1)"
    assert not (tmp_path / "lab" / "reference" / "api.md").exists()
    assert (book / PAGE).read_bytes() == before


def test_a_chapter_that_was_only_run_is_replaced_by_a_newer_one(book, tmp_path):
    copy = tmp_path / "lab"
    lab.refresh(book, copy)
    change(copy, outputs=[nbformat.v4.new_output("stream", text="1\n")], execution_count=1)
    run = (copy / PAGE).read_bytes()
    lab.refresh(book, copy)
    assert (copy / PAGE).read_bytes() == run  # nothing is newer: the outputs stay
    chapter(book, "print(2)")
    assert lab.refresh(book, copy) == []
    assert code_of(copy) == "print(2)"


def test_an_edited_chapter_is_kept_and_named_when_there_is_a_newer_one(book, tmp_path, capfd):
    copy = tmp_path / "lab"
    lab.refresh(book, copy)
    change(copy, source="print('mine')")
    assert lab.refresh(book, copy) == []
    chapter(book, "print(2)")
    assert lab.refresh(book, copy) == [PAGE]
    assert code_of(copy) == "print('mine')"
    subprocess.run([sys.executable, "-m", "nucbook.lab", book, copy], check=True)
    assert "lab/one/data.ipynb keeps your edits; there is a newer version" in capfd.readouterr().out
    (copy / PAGE).rename(copy / "one" / "mine.ipynb")
    assert lab.refresh(book, copy) == []
    assert code_of(copy) == "print(2)"


@pytest.mark.parametrize("content", ["", "{}", "[1]"])
def test_a_file_that_is_no_notebook_any_more_is_an_edit(book, tmp_path, content):
    copy = tmp_path / "lab"
    lab.refresh(book, copy)
    (copy / PAGE).write_text(content, encoding="utf-8")
    chapter(book, "print(2)")
    assert lab.refresh(book, copy) == [PAGE]


def test_citations_terms_and_links_are_written_out(book, tmp_path):
    text = (
        "{cite:t}`kingma2015adam` and {term}`teachers <Teacher>` {cite:p}`kingma2015adam, oord2018cpc`, "
        "[terms](../reference/glossary), [here](data), [code](data.ipynb), [net](https://a.org/b)"
    )
    chapter(book, "print(1)", text)
    lab.refresh(book, tmp_path / "lab")
    shown = nbformat.read(tmp_path / "lab" / PAGE, 4).cells[0].source
    assert shown.removeprefix(lab.FRONT) == (
        "[Kingma and Ba (2015)](../reference/bibliography.md) and [teachers](../reference/glossary.md) "
        "([Kingma and Ba, 2015; van den Oord et al., 2018](../reference/bibliography.md)), "
        "[terms](../reference/glossary.md), [here](data.ipynb), [code](data.ipynb), [net](https://a.org/b)"
    )


def test_the_glossary_holds_definitions_and_the_bibliography_its_entries(book, tmp_path):
    lab.refresh(book, tmp_path / "lab")
    pages = tmp_path / "lab" / "reference"
    glossary = (pages / "glossary.md").read_text(encoding="utf-8")
    assert "Teacher\n: Of a {term}`student`, ([van den Oord et al., 2018](./bibliography.md))." in glossary
    assert (pages / "bibliography.md").read_text(encoding="utf-8").count("\n- ") == 1
    assert "- Diederik" in (pages / "bibliography.md").read_text(encoding="utf-8")


def test_the_build_of_the_book_does_not_read_the_copy():
    config = (BOOK.parent / "_config.yml").read_text(encoding="utf-8")
    assert "lab" in re.search(r"^exclude_patterns: \[(.*)\]$", config, re.MULTILINE)[1].split(", ")


def test_the_copy_of_this_book_holds_what_jupyterlab_renders_and_no_dead_link(tmp_path):
    lab.refresh(BOOK, tmp_path)
    pages = [file for file in tmp_path.rglob("*.*") if file.suffix in {".ipynb", ".md"}]
    assert len(pages) > 40  # with their originals
    for page in pages:
        if lab.ORIGINALS in page.parts:
            continue
        text = page.read_text(encoding="utf-8")
        if page.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        used = set(re.findall(r"[`:]{3,}\{([\w-]+)\}|(?<![\w\\])\{([\w:-]+)\}`", text))
        assert {one or two for one, two in used} <= RENDERED, page
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
        assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == [], page
