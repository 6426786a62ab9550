"""What the papers leave open: written once, in the boxes of the chapters, and gathered on one page."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from sphinx.testing.util import SphinxTestApp

from nucbook.lab import open_questions

BOOK = Path(__file__).parent.parent / "book"
EXTENSIONS = BOOK / "_ext"
PAGE = BOOK / "reference" / "open_questions.md"
LISTED = [
    chapter
    for block in re.findall(
        r"^```{open-questions}\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    for chapter in block.split()
]
PARTS = sorted({Path(chapter).parent.name for chapter in LISTED})
FORM = re.compile(
    r"1\. \*\*(.+?)\.\*\*\\\n   \*[A-Z][^*]*:\* .*\n   \*(?:Here|Code and here):\* .*", re.DOTALL
)
TOC = "root: book/reference/page\nentries: [{file: book/mine/losses}, {file: book/mine/data}]\n"
CONFIG = "extensions = ['myst_nb', 'sphinx_external_toc', 'open_questions']\nnb_execution_mode = 'off'\n"
BOX = """\
Text with **bold** words.

```{admonition} What the paper leaves open
:class: note

**The weight.** *Paper:* not given, see
[the data](data.ipynb). *Here:* 1.

**The unit.** *Paper:* [none](../reference/page.md). *Here:* px, of [others](https://example.org).
```

**What to see.** More text.
"""


def chapter(file: Path, *texts: str) -> None:
    """A notebook of Markdown cells."""
    file.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text) for text in texts])
    nbformat.write(notebook, file)


@pytest.fixture
def page(tmp_path):
    """A page beside two chapters; `losses` has two boxes, `data` has none."""
    chapter(tmp_path / "book" / "mine" / "losses.ipynb", "# Losses", BOX, BOX.replace("weight", "size"))
    chapter(tmp_path / "book" / "mine" / "data.ipynb", "# Data", "**The unit.** *Paper:* none.")
    file = tmp_path / "book" / "reference" / "page.md"
    file.parent.mkdir()
    file.write_text("# Open\n\n```{open-questions}\n../mine/losses\n```\n", encoding="utf-8")
    return file


@pytest.fixture
def app(page, tmp_path, monkeypatch):
    """Sphinx on the page and its chapters."""
    (tmp_path / "conf.py").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    app = SphinxTestApp("html", srcdir=tmp_path)
    yield app
    app.cleanup()


def built(app: SphinxTestApp) -> str:
    app.build()
    return (Path(app.outdir) / "book" / "reference" / "page.html").read_text(encoding="utf-8")


def test_entries_are_the_paragraphs_of_the_boxes_alone_and_links_are_turned(page):
    first, second, third, _ = re.split(r"\n(?=1\.)", open_questions(["../mine/losses"], page))
    assert first == (
        "1. **The weight.**\\\n   *Paper:* not given, see [the data](../mine/data.ipynb).\\\n"
        "   *Here:* 1. ([losses](../mine/losses.ipynb))"
    )
    assert "*Paper:* [none](../reference/page.md).\\\n" in second
    assert "of [others](https://example.org). ([losses]" in second
    assert FORM.fullmatch(third)[1] == "The size"


def test_a_chapter_without_a_box_is_refused(page):
    with pytest.raises(
        ValueError, match=r'\.\./mine/data has no box "What the paper leaves open"; write one'
    ):
        open_questions(["../mine/losses", "../mine/data"], page)


def test_the_page_numbers_the_entries_and_its_links_lead_to_the_chapters(app):
    html = built(app)
    assert app.warning.getvalue() == ""
    [numbered] = re.findall(r"<ol .*?</ol>", html, re.DOTALL)
    text = " ".join(re.sub(r"<[^>]+>", "", numbered).split())
    assert text.startswith("The weight. Paper: not given, see the data. Here: 1. (losses) The unit.")
    assert numbered.count("<br />") == 2 * 4
    titles = ["The weight.", "The unit.", "The size.", "The unit."]
    assert re.findall(r"<strong>(.*?)</strong>", numbered) == titles
    data, losses = "../mine/data.html", "../mine/losses.html"
    links = [data, losses, "#", "https://example.org", losses]
    assert re.findall(r'href="([^"]+)"', numbered) == links * 2


def test_the_page_follows_a_box_that_changes(app, page):
    assert "The height." not in built(app)
    chapter(page.parent.parent / "mine" / "losses.ipynb", "# Losses", BOX.replace("weight", "height"))
    assert "The height." in built(app)


@pytest.mark.parametrize(("listed", "error"), [("data", 'data has no box "What'), ("other", "No such file")])
def test_a_page_that_lists_a_chapter_without_a_box_is_an_error(app, page, listed, error):
    page.write_text(page.read_text("utf-8").replace("losses", listed), encoding="utf-8")
    app.build()
    assert re.search(f"(WARNING|ERROR): .*{error}", app.warning.getvalue())


def test_the_page_lists_each_chapter_that_has_a_box_once():
    boxed = [
        file for file in BOOK.glob("*/*.ipynb") if "{admonition} What the paper" in file.read_text("utf-8")
    ]
    assert sorted(LISTED) == sorted(f"../{file.parent.name}/{file.stem}" for file in boxed)


@pytest.mark.parametrize("part", PARTS)
def test_an_entry_has_its_form_and_stands_once_in_a_part(part):
    listed = [chapter for chapter in LISTED if Path(chapter).parent.name == part]
    entries = re.split(r"\n(?=1\.)", open_questions(listed, PAGE))
    assert [entry for entry in entries if not FORM.fullmatch(entry)] == []
    titles = Counter(FORM.fullmatch(entry)[1] for entry in entries)
    assert [title for title, number in titles.items() if number > 1] == []


def test_links_of_the_entries_lead_to_files_of_the_book():
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", open_questions(LISTED, PAGE))
    assert len(links) > 70
    assert [link for link in links if not (PAGE.parent / link).is_file()] == []
