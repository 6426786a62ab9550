"""Shows docstrings as they are written: sentences, `name : meaning` in two columns, the rest as it stands.

The library's docstrings are meant to be read in a terminal too; taken for reStructuredText they would lose
their columns and gain markup.
"""

from __future__ import annotations

import re

MARKUP = re.compile(r"([\\*|_<>])")  # what reStructuredText would take for markup
ADJOINING = re.compile(r"^(?=\w)")  # a letter or digit right after code, whose markup would not end there
ARGUMENT = re.compile(r"(\S+(?: \S+){0,3}?) +: +(.*)")  # `name : what it is`


def plain(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText that renders as they were written, paragraph by paragraph."""
    result = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = paragraph.splitlines()
        indented = [row.startswith(" ") for row in rows]
        if all(i or ARGUMENT.match(row) for i, row in zip(indented, rows)) and not indented[0]:
            result += _columns(rows)
        elif any(indented):
            result += [".. code-block:: text", "", *(f"   {row}" for row in rows), ""]
        else:
            result += [_sentences(paragraph), ""]
    return result


def _sentences(text: str) -> str:
    text = re.sub(r'"[\w.-]*"', r"`\g<0>`", " ".join(text.split()))  # a string argument is code
    parts = re.split(r"`+([^`]+)`+", text)  # text, code, text, …
    words = [MARKUP.sub(r"\\\1", part) for part in parts[::2]]
    words[1:] = [ADJOINING.sub(r"\\ ", part) for part in words[1:]]  # an escaped space shows nothing
    return "".join(f"``{part}``" if i % 2 else words[i // 2] for i, part in enumerate(parts))


def _columns(rows: list[str]) -> list[str]:
    entries: list[list[str]] = []
    for row in rows:
        found = None if row.startswith(" ") else ARGUMENT.match(row)
        if found:
            entries.append([found[1], found[2]])
        else:
            entries[-1][1] += " " + row.strip()
    result = [".. rst-class:: columns", ""]
    for name, meaning in entries:
        result += [f"   ``{name}``", f"      {_sentences(meaning)}"]
    return [*result, ""]


def _docstring(app, what, name, thing, options, lines):
    lines[:] = plain(lines)


def _signature(app, what, name, thing, options, signature, returns):
    # Defaults that show as `<class …>` or `<factory>` are no Python, and one of them spoils the whole line.
    if signature:
        signature = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature)
        signature = re.sub(r"<[^<>]*>", "...", signature)
    return signature, returns


def _skip(app, what, name, thing, skip, options):
    # A named tuple's fields are in its signature; their own docstrings say "Alias for field number 0".
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app):
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
