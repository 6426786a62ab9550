"""Pages as the book's own configuration builds them: a chapter, the bibliography, a page of the library."""

from __future__ import annotations

import base64
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
REFERENCE = ("reference/bibliography", "reference/api/networks")
CONTENTS = "".join(f"- file: book/{page}\n" for page in REFERENCE)
TOC = f"format: jb-book\nroot: book/chapter\nchapters:\n{CONTENTS}"
CHAPTER = """\
# A chapter

The area $a = \\pi r^2$ of a disc.

## Discs
"""
CAPTION = "**What to see.** One *grey* disc. It is round {cite:p}`liu2022weak`."

pytestmark = pytest.mark.slow


def figure(grey: int) -> nbformat.NotebookNode:
    """A code cell and the picture that it drew."""
    file = io.BytesIO()
    Image.new("L", (8, 8), grey).save(file, "png")
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "<Figure>"}
    cell = nbformat.v4.new_code_cell(f"disc({grey})", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    return cell


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """Folder with the pages of a small book, whose outputs are stored."""
    folder = tmp_path_factory.mktemp("book")
    for name in ("_ext", "_static", "reference/references.bib", *(f"{page}.md" for page in REFERENCE)):
        source, target = ROOT / "book" / name, folder / "book" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    config = config.replace("execute_notebooks: cache", "execute_notebooks: off")
    (folder / "_config.yml").write_text(config, encoding="utf-8")
    (folder / "_toc.yml").write_text(TOC, encoding="utf-8")
    cells = [
        nbformat.v4.new_markdown_cell(CHAPTER),
        figure(64),
        nbformat.v4.new_code_cell("area = 3.14"),
        nbformat.v4.new_markdown_cell(CAPTION),
        nbformat.v4.new_markdown_cell("## More discs"),
        figure(128),
        figure(192),
        nbformat.v4.new_markdown_cell(CAPTION.replace("grey", "white")),
    ]
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


def test_a_figure_has_the_text_that_the_chapter_writes_below_it(page):
    outputs = page.split('<div class="cell_output')[1:]
    texts = [re.search(r'<img [^>]*alt="([^"]*)"', output)[1] for output in outputs]
    assert texts == [
        "One grey disc. It is round [Liu et al., 2022].",
        "A figure of the section “More discs”",
        "One white disc. It is round [Liu et al., 2022].",
    ]


def test_a_page_is_described_by_its_first_paragraph_and_the_first_page_by_itself(page):
    assert '<meta name="description" content="The area a = \\pi r^2 of a disc." />' in page
    assert "html_meta:\n    description: " in (ROOT / "book" / "intro.md").read_text(encoding="utf-8")


def test_the_text_of_a_figure_ends_with_a_sentence(extension):
    first = extension("texts").first_sentences
    assert first("See Fig. 4 of  it. Now!", 30) == "See Fig. 4 of it. Now!"
    assert first("Two. So many words, it seems. Three.", 20) == "Two."
    assert first("So many words, it seems. Three.", 20) == "So many words, it …"
    assert len(first("A disc. " * 100, 300)) == 295


def test_no_inline_script_stands_on_a_page_twice(page):
    scripts = re.findall(r"<script>(.+?)</script>", page)
    assert any("THEBE_JS_URL" in script for script in scripts)
    assert sorted(set(scripts)) == sorted(scripts)


def test_the_bibliography_calls_each_work_as_the_text_does_in_alphabetical_order(html):
    text = (html / "book" / "reference" / "bibliography.html").read_text(encoding="utf-8")
    found = re.findall(r'<span class="label">(.*)</span>', text)
    labels = [re.sub(r"<[^>]+>|[\[\]]", "", label) for label in found]
    assert {"Liu et al., 2022", "Yang et al., 2021b", "Kingma and Ba, 2015", "Otsu, 1979"} <= set(labels)
    assert sorted(set(labels), key=str.casefold) == labels


def test_a_page_names_its_mode_and_its_style_keeps_images_as_they_are_in_the_dark(html, page):
    assert '<body data-default-mode="auto">' in page
    style = (html / "_static" / "nucbook.css").read_text(encoding="utf-8")
    assert re.search(r'\[data-theme="dark"\] \.bd-article img[^{]*{[^}]*filter: none', style)


def test_the_reference_has_the_librarys_docstrings_and_its_source(html):
    page = (html / "book" / "reference" / "api" / "networks.html").read_text(encoding="utf-8")
    assert 'id="nucbook.networks.UNet"' in page
    assert "Define the computation performed at every call" not in page  # torch's docstring of `forward`
    [source] = re.findall(r'href="([^"#]+)#UNet"><span class="viewcode-link"', page)
    assert 'id="UNet"' in (html / "book" / "reference" / "api" / source).read_text(encoding="utf-8")
