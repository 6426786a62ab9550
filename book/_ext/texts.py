"""Texts for those who do not see a figure, or not yet a page; the chapter has them already.

A figure is described by the caption below it, "What to see. …": without that it is called by the name of its
file, a hash. A page is described to search engines by its first paragraph.
"""

from __future__ import annotations

import re
from html import escape
from textwrap import shorten

from docutils import nodes

CAPTION = "What to see."
FIGURE = 300  # characters; screen readers read a text in one breath
PAGE = 160  # characters; search engines cut what is longer


def describe(document: nodes.document) -> None:
    """Give each figure in the output of a code cell its text: the start of the caption that follows, in
    the same section and before the next figure, or else the title of the section."""
    for cell in document.findall(nodes.container):
        if figures := _figures(cell):
            for figure in figures:
                figure["alt"] = _caption(cell) or f"A figure of the section “{_title(cell)}”"


def first_sentences(text: str, longest: int) -> str:
    """As many whole sentences of a text as fit; the start of the first where it does not fit either."""
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", " ".join(text.split()))
    result = shorten(sentences[0], longest, placeholder=" …")
    for sentence in sentences[1:]:
        if len(result) + 1 + len(sentence) > longest:
            break
        result += f" {sentence}"
    return result


def _figures(node: nodes.Node) -> list[nodes.image]:
    if not (isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"):
        return []
    outputs = [part for part in node.children if part.get("nb_element") == "cell_code_output"]
    return [figure for output in outputs for figure in output.findall(nodes.image)]


def _caption(cell: nodes.container) -> str | None:
    for node in cell.parent.children[cell.parent.index(cell) + 1 :]:
        text = node.astext() if isinstance(node, nodes.paragraph) else ""
        if text.startswith(CAPTION):
            return first_sentences(text.removeprefix(CAPTION), FIGURE)
        if _figures(node):
            break
    return None


def _title(node: nodes.Node) -> str:
    while not isinstance(node.parent, nodes.section | nodes.document):
        node = node.parent
    return next(node.parent.findall(nodes.title)).astext()


def _page(app, pagename, template, context, document):
    first = next(document.findall(nodes.paragraph), None) if document else None
    if first is not None and 'name="description"' not in context["metatags"]:
        text = escape(first_sentences(first.astext(), PAGE))
        context["metatags"] += f'\n<meta name="description" content="{text}" />'


def setup(app):
    # Once citations are resolved; before, a paragraph has their keys.
    app.connect("doctree-resolved", lambda app, document, name: describe(document))
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
