"""Shows docstrings as they are written: sentences as text, columns of arguments in fixed width.

The library's docstrings line their arguments up and are meant to be read in a terminal too; taken for
reStructuredText they would lose those columns.
"""

from __future__ import annotations

import re

MARKUP = re.compile(r"([\\*|_<>])")                 # what reStructuredText would take for markup
COLUMNS = re.compile(r"^( |\S+( \S+){0,3} +: )", re.MULTILINE)      # an indented line, or `name : what it is`


def plain(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText that renders as they were written.

    A paragraph with an indented line or with `name : meaning` becomes a block of fixed width;
    in all others `name` becomes code and nothing else is markup.
    """
    result = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if COLUMNS.search(paragraph):
            result += [".. code-block:: text", "", *(f"   {line}" for line in paragraph.splitlines()), ""]
        else:
            parts = re.split(r"`+([^`]+)`+", paragraph)                 # text, code, text, …
            shown = (f"``{part}``" if i % 2 else MARKUP.sub(r"\\\1", part) for i, part in enumerate(parts))
            result += [" ".join("".join(shown).split()), ""]
    return result


def _docstring(app, what, name, thing, options, lines):
    lines[:] = plain(lines)


def _signature(app, what, name, thing, options, signature, returns):
    # Defaults that show as `<class …>` or `<factory>` are no Python, and one of them spoils the whole line.
    if signature:
        signature = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature)
        signature = re.sub(r"<[^<>]*>", "...", signature)
    return signature, returns


def setup(app):
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
