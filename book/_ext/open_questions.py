"""The page of open questions gathers the boxes "What the paper leaves open", so that each is written once.

The directive lists chapters, one a line, as a toctree does; their entries stand in its place.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from nucbook.lab import open_questions


class OpenQuestions(SphinxDirective):
    """`{open-questions}`: the entries of the chapters that it lists, numbered."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        page, chapters = Path(self.env.doc2path(self.env.docname)), list(self.content)
        for chapter in chapters:
            self.env.note_dependency(str(page.parent / f"{chapter}.ipynb"))
        try:
            return self.parse_text_to_nodes(open_questions(chapters, page))
        except (OSError, ValueError) as error:
            raise self.error(str(error)) from error


def setup(app):
    app.add_directive("open-questions", OpenQuestions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
