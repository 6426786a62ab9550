"""The head of a chapter, the line on what it needs and teaches, ends with how long its code took to run."""

from __future__ import annotations

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector

HEAD = "You need:"


def add(document: nodes.document, seconds: float) -> None:
    """Append the run time to the head of a page, if it has one.

    seconds : of the execution that made the outputs shown.
    """
    first = next(iter(document.findall(nodes.paragraph)), None)
    if first is not None and first.astext().startswith(HEAD):
        first += nodes.Text(" ")
        first += nodes.strong("", "Run time")
        first += nodes.Text(f" on the machine that built this page: {duration(seconds)}.")


def duration(seconds: float) -> str:
    """Seconds up to 90, minutes beyond; as exact as a reader can use."""
    if seconds <= 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    return f"{round(seconds / 60)} min"


def _read(app, document):
    executed = NbMetadataCollector.get_exec_data(app.env, app.env.docname)
    if executed and executed["succeeded"] and executed["runtime"] is not None:
        add(document, executed["runtime"])


def setup(app):
    app.connect("doctree-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
