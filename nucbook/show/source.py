"""The library's own code, shown in a chapter: read from the file that runs, so it cannot drift."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nucbook

PACKAGE = Path(nucbook.__file__).parent


@dataclass(frozen=True)
class Source:
    """Some lines of a file; a notebook shows them with their colours, `str` gives the text."""

    file: str  # from "nucbook/" on
    line: int  # of the first line, from 1
    text: str

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return f"`{self.file}`, line {self.line}\n\n````python\n{self.text}\n````"


def source(thing: Any, docstring: bool = True) -> Source:
    """The source of a library function, class or method.

    docstring : False keeps only its first line, where the chapter has just said the rest.

    Comments follow their code at once: a page is narrower than an editor.

    Raises TypeError for what has no source in this library.
    """
    getter: Any = thing.fget if isinstance(thing, property) else thing
    thing = inspect.unwrap(getter)
    try:
        file = Path(inspect.getsourcefile(thing) or "").relative_to(PACKAGE)
        lines, start = inspect.getsourcelines(thing)
    except (TypeError, OSError, ValueError):
        way_out = "show a function, class or method of it"
        raise TypeError(f"{thing!r} has no source in nucbook; {way_out}.") from None
    text = textwrap.dedent("".join(lines)).rstrip()
    text = re.sub(r"(?<=\S) {3,}# ", "  # ", text)
    return Source((PACKAGE.name / file).as_posix(), start, text if docstring else _without_docstring(text))


def _without_docstring(text: str) -> str:
    definition = ast.parse(text).body[0]
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return text
    docstring = ast.get_docstring(definition)
    if docstring is None:
        return text
    lines, written = text.splitlines(), definition.body[0]
    summary = " " * written.col_offset + f'"""{docstring.splitlines()[0]}"""'
    return "\n".join([*lines[: written.lineno - 1], summary, *lines[written.end_lineno :]])
