"""A chapter that failed says so: a banner at its top names cell and error, and no output is left below.

Without it the page of a failed chapter looks finished, with the outputs that the notebook keeps in the
repository standing for those of this run.
"""

from __future__ import annotations

import re

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector


def mark(document: nodes.document, traceback: str) -> None:
    """Put the banner on a page, drop all outputs from it.

    traceback : of the execution, as nbclient raised it.
    """
    parts = list(document.findall(nodes.container))
    cells = [node for node in parts if node.get("nb_element") == "cell_code"]
    for node in [node for node in parts if node.get("nb_element") == "cell_code_output"]:
        node.parent.remove(node)
    failed = [number for number, cell in enumerate(cells, 1) if _is_in(cell, traceback)]
    place = f"in code cell {failed[-1]} of {len(cells)}" if failed else "outside its cells"
    banner = nodes.admonition(classes=["danger", "failed-chapter"])
    banner += nodes.title("", "This chapter failed")
    banner += nodes.paragraph("", f"Its execution stopped {place}. None of its outputs is shown.")
    banner += nodes.literal_block("", error(traceback), language="none")
    title = next(iter(document.findall(nodes.title)), None)
    if title is None:
        document.insert(0, banner)
    else:
        title.parent.insert(title.parent.index(title) + 1, banner)


def error(traceback: str) -> str:
    """The sentence of a traceback that says what went wrong: `ValueError: …`, or that time ran out."""
    lines = [line for line in re.sub(r"\x1b\[[\d;]*m", "", traceback).splitlines() if line.strip()]
    for line in lines:
        if "CellTimeoutError: " in line:
            return line.split("CellTimeoutError: ")[1]
    return lines[-1]


def _is_in(cell: nodes.container, traceback: str) -> bool:
    """Whether the traceback quotes this cell: whole, or the first lines of a long one whose time ran out."""
    for node in cell.findall(nodes.literal_block):
        if isinstance(node.parent, nodes.container) and node.parent.get("nb_element") == "cell_code_source":
            source = node.astext().strip()
            return bool(source) and (source in traceback or str(source.split("\n")[:5]) in traceback)
    return False


def _read(app, document):
    executed = NbMetadataCollector.get_exec_data(app.env, app.env.docname)
    if executed and not executed["succeeded"]:
        mark(document, executed["traceback"] or executed["error"] or "")


def _again(app, env, added, changed, removed):
    """A failed chapter is read again by the next build; else that build would pass with the old page."""
    known = NbMetadataCollector.get_doc_data(env)
    failed = [name for name, found in known.items() if not found.get("exec_data", {}).get("succeeded", True)]
    return [name for name in failed if name in env.found_docs]


def setup(app):
    app.connect("doctree-read", _read)
    app.connect("env-get-outdated", _again)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
