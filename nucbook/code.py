"""Which code a stage uses: edit a loss, and the stages that use it are done again. No torch; nothing is run.

Counted are the syntax trees, without docstrings, comments and layout, of the stage's module and of all that
it imports, and that imports again, as far as it lies under COUNTED: what makes the numbers. Tables, figures
and the command line do not matter. A name that a package's `__init__` imports from a module of its own leads
to that module alone, so a new network beside the old ones changes nothing. What is imported by a name made
while the program runs is not seen.

Of a module of a user's own, its file counts, what it imports of its own package or, for a script, from its
own folder, and of nucbook as above.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from nucbook.fingerprint import fingerprint

COUNTED = tuple(
    f"nucbook.{name}"
    for name in (
        "papers",
        "training",
        "networks",
        "instances",
        "targets",
        "metrics",  # choose weights
        "segmenter",  # makes pseudo labels
        "nuclei",
        "data.batch",
        "data.layers",
        "data.patches",
        "data.augment",
        "data.prepare",
    )
)


class NoSource(ValueError):
    """Code whose text cannot be read; the message names it, and the way out."""


class Home(NamedTuple):
    """Where a function is written.

    module : its name; of a script that is run, its file's without the suffix.
    file   : of a user's own module; None in nucbook, which is found by name, and in a notebook's cell.
    """

    module: str
    file: Path | None = None


def home(function: Callable) -> Home:
    """The module and file of a function."""
    name = function.__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    written = inspect.unwrap(function).__code__.co_filename
    if name.startswith("nucbook.") or not file or Path(written) != Path(file) or not Path(file).exists():
        return Home(name)
    path = Path(file).resolve()
    return Home(path.stem if name in ("__main__", "__mp_main__") else name, path)


def code_of(function: Callable) -> str:
    """16 hex digits that name the code that a function uses; read once in a process.

    Of a function whose module has no file (a notebook's cell, a zip), the text of the function counts, and
    the modules of nucbook that its names lead to: not the functions beside it. Raises NoSource where there
    is no text either, as in `python -c`.
    """
    place = home(function)
    if place.file or place.module.startswith("nucbook."):
        return code_of_module(place)
    function = inspect.unwrap(function)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError) as error:
        raise NoSource(
            f"{function.__module__}.{function.__name__} has no source to know it by; write it into a file."
        ) from error
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    used = [function.__globals__.get(name) for name in names]
    leads = {
        thing.__name__ if isinstance(thing, ModuleType) else str(getattr(thing, "__module__", ""))
        for thing in used
    }
    return fingerprint({"function": _dump(tree)} | _collected(sorted(filter(_counted, leads)), Home("")))


@cache
def code_of_module(place: Home) -> str:
    """16 hex digits that name the code of a module and of what it imports.

    Raises NoSource where there is no such module, or no text of it.
    """
    return fingerprint(_collected([place.module], place))


def _collected(todo: list[str], own: Home) -> dict[str, str]:
    """{module: its syntax tree as text} of some modules and of all that they import."""
    found: dict[str, str] = {}
    while todo:
        name = todo.pop()
        if name in found:
            continue
        read = _read(name, own)
        if read is None:
            raise NoSource(f"{name}: its source is not here; install nucbook from its repository or a wheel.")
        found[name] = read.dump
        todo += [target for target in _imported(read, own) if target not in found]
    return found


class _Module(NamedTuple):
    dump: str
    imports: tuple[tuple[str, str], ...]  # (module, name taken from it, or "")
    package: bool


def _read(name: str, own: Home) -> _Module | None:
    spec = _spec(name, own)
    if spec is None or spec.loader is None:
        return None
    return _parsed(name, spec.origin or "", spec)


_KNOWN: dict[tuple[str, str], _Module | None] = {}


def _parsed(name: str, origin: str, spec: ModuleSpec) -> _Module | None:
    if (name, origin) not in _KNOWN:
        get_source = getattr(spec.loader, "get_source", None)  # zips have it too
        text = get_source(name) if get_source else None
        package = spec.submodule_search_locations is not None
        module = None
        if text is not None:
            tree = ast.parse(text)
            imports = tuple(_imports(tree, name if package else name.rpartition(".")[0]))
            module = _Module(_dump(tree), imports, package)
        _KNOWN[name, origin] = module
    return _KNOWN[name, origin]


def _imports(tree: ast.AST, package: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                module = importlib.util.resolve_name("." * node.level + module, package)
            yield from ((module, "" if alias.name == "*" else alias.name) for alias in node.names)


def _dump(tree: ast.AST) -> str:
    """A syntax tree as text, without docstrings; comments, lines and columns are not in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


def _imported(read: _Module, own: Home) -> Iterator[str]:
    for module, name in read.imports:
        target = _origin(module, name, own)
        if _counted(target) or _of_the_user(target, own):
            yield target


def _origin(module: str, name: str, own: Home) -> str:
    """The module that a name comes from; through a package's `__init__` where that imports it."""
    if not name or not (module.partition(".")[0] == "nucbook" or _of_the_user(module, own)):
        return module
    if _spec(f"{module}.{name}", own) is not None:
        return f"{module}.{name}"
    read = _read(module, own)
    if read is not None and read.package:
        for inner, taken in read.imports:
            if taken == name and inner != module:
                return _origin(inner, taken, own)
    return module


def _counted(name: str) -> bool:
    table = name.startswith("nucbook.papers.") and name.endswith(".tables")
    return not table and any(name == each or name.startswith(f"{each}.") for each in COUNTED)


def _of_the_user(name: str, own: Home) -> bool:
    """Whether a module belongs to a user's stage: of its package, or in the folder of its script."""
    top = name.partition(".")[0]
    if own.file is None or top in ("", "nucbook"):
        return False
    alone = "." not in own.module and own.file.name != "__init__.py"
    if top != own.module.partition(".")[0]:
        installed = {"site-packages", "dist-packages"} & set(own.file.parts)
        if not alone or installed:
            return False
    spec = _spec(name, own)
    return spec is not None and (spec.origin or "").endswith(".py")


def _spec(name: str, own: Home) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, which would execute the packages that a module is in."""
    file = None if name.partition(".")[0] == "nucbook" else own.file
    if file and name == own.module:
        return importlib.util.spec_from_file_location(name, file)
    parent = name.rpartition(".")[0]
    if not parent:
        if not file:
            return importlib.util.find_spec(name)
        up = own.module.count(".") + (file.name == "__init__.py")
        return PathFinder.find_spec(name, [str(file.parents[up])])
    places = None if file else getattr(sys.modules.get(parent), "__path__", None)
    if places is None:
        above = _spec(parent, own)
        places = above.submodule_search_locations if above else None
    return PathFinder.find_spec(name, list(places)) if places else None
