"""Shows docstrings as they are written: the first paragraph as text, the rest in fixed width.

The library's docstrings line their arguments up in columns and are meant to be read in a terminal;
taken for reStructuredText they would lose those columns.
"""

from __future__ import annotations

import re

MARKUP = re.compile(r"([\\*|_<>])")          # what reStructuredText would take for markup


def plain(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText that renders as they were written.

    `name` becomes code in the first paragraph; all after it is a literal block.
    """
    text = "\n".join(lines).strip("\n")
    first, _, rest = text.partition("\n\n")
    parts = re.split(r"`+([^`]+)`+", first)                             # text, code, text, …
    shown = "".join(f"``{part}``" if i % 2 else MARKUP.sub(r"\\\1", part) for i, part in enumerate(parts))
    # A paragraph of one line each, so that no indented line becomes a block of its own.
    result = [" ".join(line.strip() for line in shown.splitlines()), ""]
    if rest.strip():
        result += ["::", "", *(f"   {line}".rstrip() for line in rest.splitlines()), ""]
    return result


def _rewrite(app, what, name, thing, options, lines):
    lines[:] = plain(lines)


def setup(app):
    app.connect("autodoc-process-docstring", _rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
