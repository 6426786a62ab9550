"""A chapter that a reader downloads begins with a cell that installs nucbook where it is missing.

The notebooks of the repository, and their pages, stay without it: there the library is. So no button opens
them on Colab, which would take the repository's notebook and not find the library. Without the address of the
repository in `_config.yml` the cell can only say what is missing.
"""

from __future__ import annotations

import json
from pathlib import Path

CELL = "install-nucbook"
INSTALL = """\
# Installs nucbook where it is missing, as on Colab.
import importlib.util

if importlib.util.find_spec("nucbook") is None:
    %pip install -q "git+{url}@{branch}"
"""
EXPLAIN = """\
# This chapter needs nucbook, the library of its book.
import importlib.util

if importlib.util.find_spec("nucbook") is None:
    raise ModuleNotFoundError("get the book's repository, then: %pip install FOLDER-OF-THE-REPOSITORY")
"""


def begin(file: Path, url: str, branch: str) -> None:
    """Put the cell at the top of a notebook, once.

    url : of the repository; empty: the cell says that nucbook is missing.
    """
    notebook = json.loads(file.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell.get("id") != CELL]
    source = INSTALL.format(url=url, branch=branch) if url else EXPLAIN
    lines = source.rstrip().splitlines(keepends=True)
    cell = {"cell_type": "code", "id": CELL, "metadata": {}, "execution_count": None, "outputs": []}
    notebook["cells"] = [cell | {"source": lines}, *cells]
    file.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _finish(app, exception):
    theme = app.config.html_theme_options
    if exception is None and app.builder.format == "html":
        for file in sorted((Path(app.outdir) / "_sources").rglob("*.ipynb")):
            begin(file, theme.get("repository_url") or "", theme.get("repository_branch") or "main")


def setup(app):
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
