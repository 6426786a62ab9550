"""A copy of the chapters for JupyterLab: the copy is the reader's, the tracked chapters stay as they are.

JupyterLab saves as one reads. And it knows neither the bibliography nor what another page holds: citations,
terms and open questions are written out in the copy. `make lab` runs this inside `.venv`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from pybtex import PybtexEngine
from pybtex.database import Entry, parse_file
from pybtex.richtext import Text

SUFFIXES = {".ipynb", ".md", ".svg"}
LEFT_OUT = "reference/api"  # made from docstrings, by Sphinx alone
REFERENCES = Path("reference/references.bib")
ORIGINALS = ".original"  # in the copy: each file as it was written, to see what a reader changed
BOX = re.compile(
    r"^```{admonition} What the papers? leaves? open\n(?::[^\n]*\n)*(.*?)^```$", re.MULTILINE | re.DOTALL
)
ELSEWHERE = re.compile(r"(?<=\]\()(?!\w+:|#)[^)\s]+(?=\))")  # the target of a link to another file
LABEL = re.compile(r" (?=\*[A-Z][^*]*:\*)")  # before *Paper:*, *Code:*, *Here:*
FRONT = "---\nnumbering:\n  equation: false\n---\n"  # numbers are the papers', not those of a chapter


def refresh(book: Path, copy: Path) -> list[Path]:
    """Bring the reader's copy of the chapters up to date, but for the chapters whose cells were edited.

    book : the folder of chapters.
    copy : the reader's folder; made if it is missing.

    Outputs are no edit: a chapter that was only run is replaced where the book has a newer one.
    Returns the edited chapters of which there is a newer version, as paths inside of `copy`.
    """
    kept = []
    references = parse_file(book / REFERENCES).entries
    for source in sorted(book.rglob("*")):
        page = source.relative_to(book)
        hidden = any(part.startswith((".", "_build")) for part in page.parts)
        if source.suffix not in SUFFIXES or hidden or page.as_posix().startswith(LEFT_OUT):
            continue
        new, mine, original = _for_lab(book, page, references), copy / page, copy / ORIGINALS / page
        if mine.exists() and original.exists() and original.read_bytes() == new:
            continue
        if mine.exists() and (not original.exists() or _text(mine) != _text(original)):
            kept.append(page)
            continue
        for file in (mine, original):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(new)
    return kept


def _text(file: Path) -> object:
    """What a reader can edit: of a notebook its cells without outputs and states."""
    content = file.read_bytes()
    if file.suffix != ".ipynb":
        return content
    try:
        cells = json.loads(content)["cells"]
        return [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (ValueError, KeyError, TypeError):
        return content  # broken by hand: an edit


# -- what JupyterLab cannot show ------------------------------------------------------------


def _for_lab(book: Path, page: Path, references: Mapping[str, Entry]) -> bytes:
    """A file of the book as JupyterLab can show it."""
    content = (book / page).read_bytes()
    if page.suffix == ".md":
        return _written_out(content.decode(), book, page, references).encode()
    if page.suffix != ".ipynb":
        return content
    notebook = json.loads(content)
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "markdown":
            text = _written_out("".join(cell["source"]), book, page, references)
            cell["source"] = ((FRONT if number == 0 else "") + text).splitlines(keepends=True)
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()


def _written_out(text: str, book: Path, page: Path, references: Mapping[str, Entry]) -> str:
    """Markdown whose citations and terms are links to the pages of the copy."""
    up = Path(os.path.relpath("reference", page.parent)).as_posix()

    def role(found: re.Match) -> str:
        kind, content = found[1], " ".join(found[2].split())
        if kind == "term":
            return f"[{content.partition(' <')[0]}]({up}/glossary.md)"
        names = [authors(references[key.strip()]) for key in content.split(",")]
        if kind == "cite:t":
            return ", ".join(f"[{name} ({year})]({up}/bibliography.md)" for name, year in names)
        return f"([{'; '.join(f'{name}, {year}' for name, year in names)}]({up}/bibliography.md))"

    def link(found: re.Match) -> str:
        target = book / page.parent / found[1]
        suffix = next((suffix for suffix in (".ipynb", ".md") if target.with_suffix(suffix).is_file()), "")
        return f"]({found[1]}{suffix})"

    def questions(found: re.Match) -> str:
        return open_questions(found[1].split(), book / page)

    text = re.sub(r"```\{open-questions\}\n(.*?)```", questions, text, flags=re.DOTALL)
    roles = "cite:p|cite:t|cite|term"
    if page.name == "glossary.md":  # its own terms are targets, where they are definitions
        roles = roles.removesuffix("|term")
        text = re.sub(r"^(\w.*)\n  (?=\S)", r"\1\n: ", text, flags=re.MULTILINE)
    text = re.sub(rf"\{{({roles})\}}`([^`]+)`", role, text)
    text = re.sub(r"\]\(((?:[\w.]+/)*\w+)\)", link, text)
    return re.sub(r"```\{bibliography\}.*?```", lambda _: _listed(book / REFERENCES), text, flags=re.DOTALL)


def open_questions(chapters: Iterable[str], page: Path) -> str:
    """What the boxes "What the paper leaves open" of some chapters hold, as a numbered list.

    chapters : notebooks without their ending, seen from the page, as "../bass/data".
    page     : the file that holds the list; links are turned to be seen from it.

    Each paragraph of a box is an entry: its parts stand on lines of their own, and a link to its chapter
    ends it. Raises ValueError for a chapter without a box.
    """
    items = []
    for chapter in chapters:
        entries = _left_open(page.parent / f"{chapter}.ipynb")
        if not entries:
            raise ValueError(
                f'{chapter} has no box "What the paper leaves open"; write one, or do not list it.'
            )
        folder, name = os.path.split(chapter)
        end = f" ([{name}]({chapter}.ipynb))"
        items += ["1. " + LABEL.sub("\\\\\n   ", _turned(entry, folder) + end) for entry in entries]
    return "\n".join(items)


def _left_open(chapter: Path) -> list[str]:
    """The entries of a notebook's boxes, each on one line."""
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    paragraphs = [part for box in BOX.findall(text) for part in re.split(r"\n\s*\n", box)]
    return [" ".join(part.split()) for part in paragraphs if part.strip()]


def _turned(text: str, folder: str) -> str:
    """Markdown of a file in a folder, whose links are to be seen from where that folder is seen."""
    return ELSEWHERE.sub(lambda link: Path(os.path.normpath(os.path.join(folder, link[0]))).as_posix(), text)


def authors(entry: Entry) -> tuple[str, str]:
    """Authors and year as the book's pages name them."""
    people = entry.persons["author"]
    names = [str(Text.from_latex(" ".join(one.prelast_names + one.last_names))) for one in people]
    return (" and ".join(names) if len(names) < 3 else f"{names[0]} et al."), entry.fields["year"]


def _listed(references: Path) -> str:
    """All references as a Markdown list, by author."""
    options = {"style": "plain", "output_backend": "markdown", "citations": ["*"]}
    text = PybtexEngine().format_from_file(str(references), **options)
    return re.sub(r"^\[\d+\]", "-", text, flags=re.MULTILINE)


if __name__ == "__main__":
    book, copy = map(Path, sys.argv[1:])
    for page in refresh(book, copy):
        name = f"{copy.name}/{page.as_posix()}"
        print(f"nucbook: {name} keeps your edits; there is a newer version: rename yours to get it, too")
