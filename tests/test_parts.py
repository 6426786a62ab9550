"""What a part of the book consists of, beside its code: one test for each paper names all that is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nucbook import house
from nucbook.method import find

ROOT = Path(__file__).parent.parent
BOOK = ROOT / "book"
API = BOOK / "reference" / "api"
ROOMS = ("data", "losses", "training", "tables")
PAPERS = sorted(  # those with a chapter of tables, a part's last; before it, a package is a library
    file.parent.name for file in BOOK.glob("*/tables.ipynb")
)


def read(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def words(paper: str, room: str) -> str:
    """The prose of a notebook, empty where there is none."""
    file = BOOK / paper / f"{room}.ipynb"
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"] if file.exists() else []
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def key_of(paper: str) -> str:
    """The paper's key in the bibliography: what its card on the map cites."""
    card = re.search(rf"_static/map/{paper}\.svg.*?{{cite:t}}`(\w+)`", read("book", "intro.md"), re.DOTALL)
    return card[1] if card else "no card"


def method(paper: str) -> bool:
    try:
        return find(paper).name == paper
    except ValueError:
        return False


def missing(paper: str) -> list[str]:
    """What a part lacks."""
    key = key_of(paper)
    entry = re.search(
        rf"@\w+{{{key},.*?^}}", read("book", "reference", "references.bib"), re.DOTALL | re.MULTILINE
    )
    author = re.search(r"author\s*=\s*{(\w+)", entry[0])[1] if entry else "no entry"
    readme = [line for line in read("README.md").splitlines() if re.match(rf"\|[^|]*\| {author}\b", line)]
    modules = {file.stem for file in (ROOT / "nucbook" / "papers" / paper).glob("[!_]*.py")} - {"tables"}
    api = "".join(page.read_text(encoding="utf-8") for page in API.glob(f"{paper}.md"))
    glossary = read("book", "reference", "glossary.md")
    questions = read("book", "reference", "open_questions.md")
    found = {
        "its line in README.md, without `to come`": any("to come" not in line for line in readme),
        "its card on the map of book/intro.md": key != "no card",
        "its picture book/_static/map/<paper>.svg": (BOOK / "_static" / "map" / f"{paper}.svg").is_file(),
        "the link to its first chapter in book/intro.md": f"]({paper}/data)" in read("book", "intro.md"),
        "its method in book/running.md": f"`{paper}`" in read("book", "running.md"),
        "its entry in references.bib": entry is not None,
        "its section in open_questions.md": bool(
            re.search(
                rf"^## .*\n\n{{cite:t}}`{key}`[^#]*\n```{{open-questions}}\n../{paper}/data\n",
                questions,
                re.MULTILINE,
            )
        ),
        "a method registered under its name": method(paper),
    }
    for module in sorted(modules):
        found[f"nucbook.papers.{paper}.{module} in api/{paper}.md"] = (
            f"automodule:: nucbook.papers.{paper}.{module}\n" in api
        )
    for room in ROOMS:
        page, text = f"book/{paper}/{room}", words(paper, room)
        terms = re.findall(r"{term}`(?:[^`<]*<)?([^`>]+)>?`", text)
        found |= {
            f"{page}.ipynb": bool(text),
            f"{page} in _toc.yml": page in house.pages(),
            f"{page}: an exercise": "{exercise" in text,
            f"{page}: its solution": "{solution" in text,
            f'{page}: the box "What the paper leaves open"': "{admonition} What the paper leaves open"
            in text,
            f"{page}: a word of the glossary": any(
                f"\n{term}\n".lower() in glossary.lower() for term in terms
            ),
        }
    return [what for what, there in found.items() if not there]


@pytest.mark.parametrize("paper", PAPERS)
def test_a_part_is_complete(paper):
    assert missing(paper) == [], f"the part {paper} lacks:\n" + "\n".join(missing(paper))


def test_all_that_a_part_lacks_is_named():
    lacks = missing("fixmatch")
    assert "its line in README.md, without `to come`" in lacks
    assert "its card on the map of book/intro.md" in lacks
    assert "book/fixmatch/losses in _toc.yml" in lacks
    assert len(lacks) == 8 + 6 * len(ROOMS)
